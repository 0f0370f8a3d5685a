"""Tensors and arrays that share memory."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "a numpy view": """
REFUSED: row_view
N> import numpy as np; x = np.zeros((2, 3)); row_view = x[0]
R> row_view[:] = 1; print(x.sum())
N> print(x.sum(), np.shares_memory(x, row_view))
""",
    "a numpy view, its base changed there": """
REFUSED: row_view
N> import numpy as np; x = np.zeros((2, 3)); row_view = x[0]
R> x[0, 0] = 1; print(row_view)
N> print(row_view); x[0, 1] = 2
R> print(row_view)
""",
    "a numpy view in an object": """
REFUSED: x
N>
import numpy as np
class Ring:
    def __init__(self, n): self.data = np.zeros(n); self.head = self.data[:2]
ring = Ring(4); x = ring.data
R> ring.head[:] = 5; print(ring.data)
N> print(x, np.shares_memory(ring.head, x))
""",
    "a reshaped and a transposed array": """
REFUSED: turned
N> import numpy as np; x = np.arange(6); turned = x.reshape(2, 3).T
R> turned[0, 0] = 99; print(x)
N> print(x[0], turned.shape)
""",
    "a view made there": """
R> import numpy as np; x = np.zeros(4); tail = x[2:]; copy = x[:2].copy()
N> copy[:] = 9; print(x, tail)
R> tail[:] = 1; print(x)
""",
    "a torch view": """
N> import torch; x = torch.zeros(2, 3); row = x[0]
R> row += 1; print(x.sum().item())
N> print(x, row.data_ptr() == x.data_ptr()); x[0, 0] = 9
R> print(row)
""",
    "a torch view, its base changed there": """
N> import torch; x = torch.zeros(4); v = x.view(2, 2); t = v.t()
R> x[1] = 7
N> print(v, t)
R> print(t, t.data_ptr() == x.data_ptr())
""",
    "numpy and torch share memory": """
N> import torch, numpy as np; arr = np.zeros(3); ten = torch.from_numpy(arr)
R> ten += 1; print(arr)
N> print(arr, ten)
""",
    "a tensor's detached twin": """
N> import torch; w = torch.ones(3, requires_grad=True); d = w.detach()
R> d.mul_(5); print(w)
N> print(w, d.data_ptr() == w.data_ptr(), d.requires_grad)
""",
    "a storage shared by slices in a list": """
N> import torch; flat = torch.zeros(6); parts = list(flat.split(2))
R> parts[1].fill_(3)
N> print(flat); flat[0] = 1
R> print(parts)
N> print(parts)
""",
    "an expanded tensor": """
N> import torch; one = torch.tensor([[1.], [2.]]); wide = one.expand(2, 1000)
R> one[0] = 5; print(wide[0, 999], wide.stride())
N> print(wide[0, 3], wide.stride(), wide.shape)
""",
    "an array rebound to its own part": """
N> import numpy as np; x = np.arange(10)
R> x = x[2:5]
N> x[0] = 50; print(x)
R> print(x); x = x[:1]
N> print(x, x.shape)
""",
    "a frame's values": """
N> import pandas as pd, numpy as np; df = pd.DataFrame({"a": [1., 2.]}); vals = df["a"].to_numpy().copy(); s = df.a
R> vals[0] = 9; df.loc[0, "a"] = 5
N> print(df.a.tolist(), vals.tolist(), s.tolist())
""",
    "quantized and sparse tensors without warnings": """
N> import torch; sp = torch.eye(3).to_sparse(); half = torch.ones(2, dtype=torch.bfloat16); c = torch.ones(2, dtype=torch.complex64)
R> print(sp.to_dense().sum(), half.sum(), c.sum()); sp2 = sp * 2
N> print(sp2.to_dense()[0, 0], sp2.layout, half.dtype)
""",
    "a quantized tensor": """
N>
import torch, warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore"); q = torch.quantize_per_tensor(torch.tensor([1., 2.]), .5, 0, torch.qint8)
R> print(q.int_repr(), q.q_scale())
N> print(q.int_repr())
""",
    "meta tensors": """
N> import torch; from torch import nn; big = nn.Linear(100_000, 100_000, device="meta"); m = torch.empty(10**10, device="meta")
R> print(big.weight.shape, m.device, m.shape)
N> print(big.weight.is_meta, m.shape)
""",
    "a parameter's data": """
N> import torch; from torch import nn; torch.manual_seed(0); l = nn.Linear(2, 1); w = l.weight.data
R> l.weight.data.add_(1)
N> print(w.data_ptr() == l.weight.data_ptr(), torch.equal(w, l.weight.data))
R> w.zero_(); print(l.weight)
N> print(l.weight.data)
""",
    "a frame of two dtypes that changes in turn": """
N> import pandas as pd
df = pd.DataFrame({"a": range(6), "b": list("xyzxyz")}); groups = df.groupby("b"); column = df["a"]
R> df["c"] = df["a"] * 2; df.shape, groups.ngroups, int(column.sum())
N> df.loc[0, "a"] = 100; int(df["a"].sum()), int(column.sum())
R> int(df["a"].sum()), int(column.sum()), groups["a"].sum().tolist(); df.loc[1, "b"] = "w"
N> df.to_dict("list"), groups.obj is df, int(column.sum())
R> df.at[2, "b"] = "v"; df.index.name = "n"; df.attrs["k"] = [1]
N> df.to_dict("list"), df.index.name, df.attrs; df.attrs["k"].append(2)
R> df.attrs, df["b"].tolist()
""",
    "columns and matrices in tuples": """
N> import pandas as pd, scipy.sparse as sp, numpy as np
kinds = pd.Categorical(list("aba")); matrix = sp.csr_matrix(np.eye(3)); pair = (kinds, matrix); table = {1: pair}
R> pair[0][1] = "a"; pair[1].data[0] = 7; twin = table[1]; twin is pair
N> list(kinds), matrix.data.tolist(), pair[0] is kinds, twin is pair; kinds[0] = "b"; matrix.data[1] = 8
R> list(table[1][0]), twin[1].data.tolist(), twin is pair, pair[1] is matrix
""",
    "a tensor's array, made in a later cell": """
N> import torch, numpy as np
R> scores = torch.zeros(4)
R> array = scores.numpy()
R> scores[0] = 1; print(array)
N> print(scores, array); array[1] = 7
R> print(scores, array); array[2] = 8
N> print(scores, np.shares_memory(scores.numpy(), array))
""",
    "a large tensor's array and its rows": """
N> import torch, numpy as np
frames = torch.zeros(300, 1000); pixels = frames.numpy(); row = pixels[7]
R> row[0] = 5; print(frames[7, 0], pixels[7, 0])
N> print(frames[7, 0], pixels[7, 0], row[0]); frames[7, 1] = 6
R> print(row[:3], pixels.sum()); made = torch.from_numpy(pixels[8:10])
N> made[0, 0] = 9; print(pixels[8, 0], frames[8, 0])
R> print(frames[8, 0], made[0, 0], row[1]); frames.add_(1)
N> print(made[0, :2], row[:3], pixels.sum())
""",
    "a part of an image, and a part of that": """
N> import numpy as np
image = np.arange(64.).reshape(8, 8); crop = image[2:6, 2:6]
R> line = crop[1]; flat = crop.reshape(-1); line[0] = 5; flat[1] = 6
N> print(line, crop, image[3], flat[:3]); crop[1, 1] = 7
R> print(line, flat[:3], crop.strides); image[3, 4] = 8
N> print(line, crop[1], flat[5])
""",
    "arrays of a class of the notebook": """
N> import numpy as np
class Signal(np.ndarray):
    def __array_finalize__(self, of): self.rate = getattr(of, "rate", None)
raw = np.arange(6.); signal = raw[1:5].view(Signal); signal.rate = [44100]; held = {"s": signal, "rate": signal.rate}
R> signal *= 2; signal.rate.append(1); part = signal[::2]; part.rate is signal.rate, raw
N> raw, held["s"] is signal, held["rate"] is signal.rate, type(part).__name__, part.rate is signal.rate; part[0] = 50; signal.unit = "V"
R> raw, signal, signal.unit, vars(part), np.shares_memory(raw, part)
N> raw[2] = 7; signal
R> signal, signal.mean()
""",
    "a masked array, its data and its parts": """
N> import numpy as np
m = np.ma.array([1., 2., 3., 4.], mask=[0, 1, 0, 0], fill_value=-1); data = m.data; part = m[1:3]
R> data[0] = 9; part[1] = np.ma.masked; m
N> m, data, part, m.fill_value, part.sharedmask; m.mask[3] = True; data[1] = 5
R> m, part, m.filled(), np.shares_memory(m.data, data)
""",
    "a mapped file and its parts": """
N> import numpy as np, tempfile, os
path = os.path.join(tempfile.mkdtemp(), "m.dat"); mm = np.memmap(path, dtype="i4", mode="w+", shape=(4,)); part = mm[1:3]
R> mm[0] = 7; part[1] = 8; mm.flush(); print(type(mm).__name__, type(part).__name__, mm)
N> print(np.fromfile(path, "i4"), mm, part, np.shares_memory(mm, part))
""",
    "tensors of a class of the notebook": """
N> import torch
class Tagged(torch.Tensor): pass
base = torch.zeros(4); t = base.as_subclass(Tagged); t.tag = [1]; held = [t]
R> t[0] = 5; t.tag.append(2); type(t).__name__, base
N> base, held[0] is t, t.tag; base[1] = 6; t.more = 1
R> t.tolist(), vars(t), held[0] is t
""",
    "views of bytes and of a dict": """
N> import numpy as np, types
buffer = bytearray(8); words = np.frombuffer(buffer, "i2"); view = memoryview(buffer)[2:]; d = {"a": 1}; keys = d.keys(); shown = types.MappingProxyType(d)
R> words[1] = 5; view[2] = 7; d["b"] = 2; print(buffer, words, keys, shown)
N> print(buffer, words, bytes(view), keys, shown); buffer[0] = 9; del d["a"]
R> print(words, view.obj is buffer, keys, shown)
""",
}
