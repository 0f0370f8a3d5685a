"""Tensors with attributes and of subclasses keep class, attributes and storage on both sides, as natively."""

from __future__ import annotations

import random
from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

SETUP: Final = """
import torch, numpy as np
from torch import nn

class Tagged(torch.Tensor):
    pass

class Weight(nn.Parameter):
    pass

class Slotted(torch.Tensor):
    __slots__ = ('unit',)

class Strict(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ in ('copy_', 'clone', 'untyped_storage', 'stride'):
            raise TypeError('not by this name')
        return super().__torch_function__(func, types, args, kwargs or {})

class Reducing(torch.Tensor):
    def __reduce_ex__(self, protocol):
        return remake, (self.tolist(), self.tag)

def remake(items, tag):
    made = torch.tensor(items).as_subclass(Reducing)
    made.tag = tag
    return made

def plain(tensor):
    return tensor.detach().as_subclass(torch.Tensor)
"""

CASES: Final = {
    "attributes": (
        "t = torch.zeros(3); t.tag = l = [1]; o = [t]; u = t.data",
        ["t.tag.append(2)", "t[0] = 5", "t.more = 1", "u[1] = 6", "del t.more", "l.append(3)"],
        "t.tolist(), t.tag, t.tag is l, o[0] is t, vars(t), u.tolist(), u.data_ptr() == t.data_ptr()",
    ),
    "parameter": (
        "p = nn.Parameter(torch.ones(3)); p.tag = [1]; d = p.data; v = p.data[1:]; o = [p]",
        ["d[0] = 5", "p.tag.append(2)", "v[0] = 6", "p.grad = torch.ones(3)", "p.requires_grad = False", "p.data[2] = 8"],
        "p.tolist(), d.tolist(), v.tolist(), p.tag, p.requires_grad, o[0] is p, p.grad is None, d.data_ptr() == p.data_ptr()",
    ),
    "gradients": (
        "x = torch.ones(3, requires_grad=True); (x * 2).sum().backward(); g = x.grad; o = [x]",
        ["g[0] = 5", "(x * x).sum().backward()", "x.grad.zero_()", "g.tag = 1", "x.grad = None; g[1] = 3"],
        "x.tolist(), g.tolist(), x.grad is g, o[0] is x, x.requires_grad, getattr(g, 'tag', 0)",
    ),
    "buffer": (
        "m = nn.Linear(1, 1); m.b = nn.Buffer(torch.zeros(2), persistent=False); b = m.b; b.tag = 1; e = b.data",
        ["m.b[0] = 5", "b.tag += 1", "e[1] = 7"],
        "b.tolist(), m.b is b, b.tag, sorted(m.state_dict()), [n for n, _ in m.named_buffers()], e.tolist()",
    ),
    "subclass": (
        "t = torch.arange(4.).as_subclass(Tagged); t.tag = l = [1]; o = [t]; b = plain(t); v = t[1:]",
        ["t[0] = 5", "t.tag.append(2)", "b[1] = 6", "v[1] = 7", "v.tag = 'v'", "l.append(3)"],
        "plain(t).tolist(), t.tag, t.tag is l, o[0] is t, b.tolist(), plain(v).tolist(), type(v).__name__, vars(v), t.data_ptr() == b.data_ptr()",
    ),
    "subclass of a parameter": (
        "w = Weight(torch.ones(3)); w.tag = [1]; m = nn.Linear(1, 1); m.w = w; d = w.data",
        ["w.data[0] = 5", "w.tag.append(2)", "d[1] = 6", "m.w.more = 1", "w.requires_grad = False", "w.grad = torch.ones(3)"],
        "w.tolist(), type(w).__name__, vars(w), m.w is w, d.tolist(), w.requires_grad, w.grad is None, d.data_ptr() == w.data_ptr()",
    ),
    "subclass and an array": (
        "a = np.zeros(3, 'f4'); t = torch.from_numpy(a).as_subclass(Tagged); t.tag = 1",
        ["t[0] = 5", "a[1] = 6", "t.tag += 1"],
        "plain(t).tolist(), a.tolist(), t.tag, type(t).__name__",
    ),
    "tensor and an array of a subclass": (
        "a = np.zeros(3, 'f4').view(np.recarray); t = torch.from_numpy(np.asarray(a)); a.tag = [1]; m = np.ma.array(np.asarray(a), mask=[0, 1, 0], copy=False)",
        ["t[0] = 5", "a[2] = 6", "a.tag.append(2)", "m[1] = 4"],
        "t.tolist(), a.tolist(), a.tag, m.tolist(), type(a).__name__",
    ),
    "array of a subclass over a tensor": (
        "t = torch.zeros(3); a = t.numpy().view(np.recarray); a.tag = [1]; b = a[1:]",
        ["t[0] = 5", "a[2] = 6", "a.tag.append(2)", "b[0] = 7"],
        "t.tolist(), a.tolist(), a.tag, b.tolist(), type(b).__name__",
    ),
    "slots": (
        "t = torch.zeros(3).as_subclass(Slotted); t.unit = [1]; o = [t]",
        ["t.unit.append(2)", "t[0] = 5", "t.unit = 3", "del t.unit; t.unit = 4"],
        "plain(t).tolist(), t.unit, o[0] is t",
    ),
    "own __torch_function__": (
        "t = torch.zeros(3).as_subclass(Strict); o = [t]; b = plain(t)",
        ["t.tag = 1", "b[0] = 5", "b[2] = 7"],
        "plain(t).tolist(), b.tolist(), vars(t), o[0] is t, type(t).__name__",
    ),
    "hooks": (
        "x = torch.ones(2, requires_grad=True); seen = []; o = [x]",
        ["h = x.register_hook(lambda g: g * 3)", "x.grad = None; x.sum().backward()", "h.remove()", "x.grad = None; x.sum().backward()"],
        "x.tolist(), None if x.grad is None else x.grad.tolist(), len(x._backward_hooks or ()), o[0] is x",
    ),
    "large subclass": (
        "t = torch.zeros(300_000).as_subclass(Tagged); t.tag = [1]; b = plain(t)[5:9]",
        ["t[0] = 5", "t.tag.append(2)", "b[1] = 6", "t[7] = 3"],
        "plain(t)[:9].tolist(), t.tag, b.tolist(), b.data_ptr() - t.data_ptr()",
    ),
    "part of a large subclass": (
        "t = torch.zeros(600_000).as_subclass(Tagged)[3:7]; t.tag = [1]; o = [t]",
        ["t[0] = 5", "t.tag.append(2)", "t[3] = 3"],
        "plain(t).tolist(), t.tag, o[0] is t, type(t).__name__",
    ),
    "a cycle": (
        "t = torch.zeros(2).as_subclass(Tagged); t.tag = [t]; o = t.tag",
        ["t[0] = 5", "o[0][1] = 6", "t.tag.append(1)"],
        "plain(t).tolist(), t.tag[0] is t, t.tag is o, len(o)",
    ),
    "another size": (
        "t = torch.zeros(2).as_subclass(Tagged); t.tag = 1; o = [t]",
        ["t[0] = 5", "t.data = torch.ones(3)", "t.tag = 2"],
        "plain(t).tolist(), t.tag, o[0] is t, type(t).__name__",
    ),
}  # fmt: skip
"""Statements that make tensors, statements that change them one after the other, an expression that shows all."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2], ids=["remote first", "native first"])
def test_a_change_is_seen_on_both_sides(case: str, seed: int) -> None:
    make, changes, shown = CASES[case]
    notebook = TwoMemories()
    notebook.native(SETUP)
    notebook.shows_alike([make, *changes], shown, random.Random(f"{case}{seed}"), first=seed)
