"""Containers of the standard library, numpy and pandas: changed in place and shared, on either side."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "a deque with a limit": """
N> from collections import deque; recent = deque([1, 2], maxlen=3); same = recent
R> recent.append(3); recent.append(4)
N> print(same, same is recent, same.maxlen)
R> same.rotate(1); print(recent)
N> print(recent)
""",
    "a counter": """
N> from collections import Counter; c = Counter("aab"); stats = {"c": c}
R> c.update("bb"); print(c.most_common(1))
N> print(stats, stats["c"] is c)
R> stats["c"]["z"] += 1
N> print(c["z"])
""",
    "an ordered dict": """
N> from collections import OrderedDict; lru = OrderedDict(a=1, b=2); ref = [lru]
R> lru.move_to_end("a"); lru["c"] = 3
N> print(list(ref[0]), ref[0] is lru); lru.popitem(last=False)
R> print(list(lru))
""",
    "a chain map": """
N> from collections import ChainMap; base = {"a": 1}; top = {}; cm = ChainMap(top, base)
R> cm["b"] = 2; base["a"] = 5
N> print(cm["a"], top, cm.maps[1] is base)
R> print(dict(cm), cm.maps[0] is top)
""",
    "a heap": """
N> import heapq; heap = [5, 9, 7]; heapq.heapify(heap); ref = heap
R> heapq.heappush(heap, 1); print(heapq.heappop(heap))
N> heapq.heappush(ref, 0); print(heap)
R> print(heapq.heappop(heap), len(ref))
""",
    "a queue": """
REFUSED: tasks
N> import queue; tasks = queue.Queue(); tasks.put(1)
R> tasks.put(2); print(tasks.qsize())
N> print(tasks.get(), tasks.qsize())
""",
    "a bytearray and a memory view": """
N> buf = bytearray(b"abc"); ref = buf
R> buf[0] = 90; buf += b"!"
N> print(ref, ref is buf)
R> ref.extend(b"?"); print(buf)
N> print(buf)
""",
    "an io buffer": """
N> import io; buf = io.StringIO(); sink = {"out": buf}
R> print("one", file=buf)
N> print("two", file=sink["out"]); print(repr(buf.getvalue()))
R> print(repr(buf.getvalue()), sink["out"] is buf)
""",
    "an array.array": """
N> from array import array; arr = array("i", [1, 2]); keep = [arr]
R> arr.append(3)
N> print(keep[0], keep[0] is arr)
R> print(keep[0].pop())
N> print(arr)
""",
    "a simple namespace": """
N> from types import SimpleNamespace as NS; opt = NS(lr=1, sub=NS(x=[])); sub = opt.sub
R> opt.lr = 2; opt.sub.x.append(1); opt.extra = "e"
N> print(opt, sub.x, opt.sub is sub)
R> del opt.extra; print(sub)
N> print(opt)
""",
    "a parsed argument list": """
N> import argparse; args = argparse.Namespace(lr=.1, tags=[]); tags = args.tags
R> args.lr *= 2; args.tags.append("r"); print(vars(args))
N> print(args, tags)
""",
    "an array in place": """
N> import numpy as np; x = np.arange(4); y = x; d = {"x": x}
R> x *= 2; x[0] = -1
N> print(y, y is x, d["x"] is x)
R> d["x"] += 1; print(x)
N> print(y)
""",
    "an array rebound": """
N> import numpy as np; x = np.arange(4); y = x
R> x = x * 2
N> print(x, y)
R> y[0] = 9; print(x, y)
N> print(x, y)
""",
    "an array resized": """
N> import numpy as np; x = np.arange(4); box = [x]
R> box[0] = np.append(x, 9); print(box[0] is x)
N> print(x, box)
""",
    "arrays resized in place": """
N> import numpy as np; x = np.arange(4); big = np.arange(300_000.); names = np.array(["ab"] * 5); wide = np.ones((800, 900))
R> x.resize(6, refcheck=False); big.resize(300_007, refcheck=False); names.resize(7, refcheck=False); print(x, big.shape, names)
N> print(x, big[-8:], names); x.resize(3); big.resize(10); wide.resize((1000, 800)); x[0] = 7
R> print(x, big, wide.shape); wide.resize((3, 3)); big.resize(4); made = np.zeros(500_000)
N> made.resize(600_000); made[-1] = 1; print(made.sum(), wide.shape, big)
R> made.resize(3); made[:] = 5; x.resize(9); print(made, x)
N> print(made, x); made.resize(1); x[1] = 8
R> print(made, x)
""",
    "a read-only array made writeable": """
N> import numpy as np; x = np.arange(300_000); x.flags.writeable = False
R> print(x.flags.writeable); x.flags.writeable = True; x[0] = 5
N> print(x[0], x.flags.writeable); x[1] = 6; x.setflags(write=False)
R> print(x[:3], x.flags.writeable); x.setflags(write=True); x += 1
N> print(x[:3], x.flags.owndata)
""",
    "buffers that grow": """
N> import array, io, ctypes; raw = bytearray(2_000_000); view = memoryview(bytearray(b"abcd")); packed = array.array("d", [1.0]); file = io.BytesIO(b"ab"); number = ctypes.c_int(5)
R> raw.extend(b"xy"); raw.append(3); del raw[:5]; packed.append(2.0); file.seek(0, 2); file.write(b"cd"); print(len(raw))
N> raw.extend(b"z"); packed.extend([3.0]); file.write(b"ef"); print(len(raw), raw[-4:], packed, file.getvalue())
R> raw *= 2; packed.insert(0, 0.5); file.truncate(3); print(len(raw), packed, file.getvalue())
N> print(len(raw), packed, file.getvalue()); raw.clear(); packed.pop(); file.write(b"!")
R> print(raw, packed, file.getvalue())
""",
    "a frame's column in place": """
N> import pandas as pd; df = pd.DataFrame({"a": [3, 1, 2]}); ref = df
R> df.sort_values("a", inplace=True); df.reset_index(drop=True, inplace=True)
N> print(ref.a.tolist(), ref is df)
R> df.loc[0, "a"] = 10; df.drop(index=1, inplace=True); df.rename(columns={"a": "b"}, inplace=True)
N> print(ref)
""",
    "a frame rebound": """
N> import pandas as pd; df = pd.DataFrame({"a": [3, None]}); raw = df
R> df = df.dropna()
N> print(len(df), len(raw), raw is df)
R> df["b"] = 1; print(len(raw.columns))
N> print(list(df), list(raw))
""",
    "a series of a frame": """
N> import pandas as pd; df = pd.DataFrame({"a": [1, 2]}); s = df["a"]
R> s = s + 1; df["c"] = s
N> print(df, s.tolist())
R> df["a"] = 0; print(s.tolist())
""",
    "categories, dates and an index": """
N>
import pandas as pd
df = pd.DataFrame({"d": pd.date_range("2024-01-01", periods=3), "c": pd.Categorical(["x", "y", "x"])}).set_index("d"); ref = df
R> df["w"] = df.index.dayofweek; df["c"] = df["c"].cat.add_categories("z")
N> print(ref, ref.c.cat.categories.tolist(), ref.index.freq)
R> print(df.loc["2024-01-02"].w, df.resample("2D").w.sum().tolist())
""",
    "a dict changes while its keys stay": """
N> d = {"a": [1], "b": [2]}; a = d["a"]
R> d["a"] = [9]; d["b"].append(3)
N> print(a, d)
R> d.setdefault("a", []).append(1); del d["b"]; print(d)
N> print(a, d)
""",
    "nested containers of three levels": """
N> runs = {"m": [{"acc": []} for _ in range(2)]}; acc = runs["m"][1]["acc"]
R> acc.append(.5)
N> runs["m"][1]["acc"].append(.6); print(acc)
R> runs["m"].append({"acc": acc}); print(runs)
N> print(runs, runs["m"][2]["acc"] is acc)
""",
    "a set of frozen sets and tuples": """
N> s = {frozenset({1, 2}), (1, "a")}; ref = s
R> s.add((2, "b")); print(frozenset({2, 1}) in s)
N> print(len(ref), ref is s, (2, "b") in ref)
""",
    "a stack of undo states": """
N> state = {"v": 1}; undo = []
R> undo.append(dict(state)); state["v"] = 2
N> undo.append(dict(state)); state["v"] = 3
R> state.update(undo.pop()); print(state, undo)
N> state.update(undo.pop()); print(state, undo)
""",
    "a matrix of shared rows": """
N> row = [0] * 3; grid = [row] * 2
R> grid[0][1] = 5; print(grid)
N> print(grid, grid[0] is grid[1] is row); row[2] = 7
R> print(grid)
""",
    "slices assigned and deleted": """
N> a = list(range(6)); b = a
R> a[1:3] = ["x"]; del a[-1]
N> print(b); b.insert(0, "y")
R> print(a, a.index("x")); a.remove("x")
N> print(b)
""",
    "a value stays there, a small member comes": """
N>
class Run:
    def __init__(self, log): self.log = log; self.big = bytearray(10)
log = []; run = Run(log)
R --fetch 1KB> run.big = bytearray(2_000_000); run.log.append("grown")
N> print(log); log.append("here")
R --fetch 1KB> print(len(run.big), run.log, run.log is log)
""",
    "a value stays there and is used on": """
R --fetch 1KB> big = bytearray(1_000_000); part = big[:3]
N> print(part)
R --fetch 1KB> big[0] = 7; n = big[0]; ref = big
N> print(n)
R --fetch 1KB> print(ref is big, ref[0], len(big))
R> del ref; big = big[:2]
N> print(big)
""",
}
