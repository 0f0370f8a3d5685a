"""Arrays of subclasses keep class, attributes and memory on both sides, over cells on either side, as natively."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from tests.session.two_memories import TwoMemories

if TYPE_CHECKING:
    from pathlib import Path

SETUP: Final = """
import numpy as np, pandas as pd, fractions

class Tagged(np.ndarray):
    def __new__(cls, items, tag=None):
        made = np.asarray(items).view(cls)
        made.tag = tag
        return made
    def __array_finalize__(self, of):
        self.tag = getattr(of, 'tag', None)

class Plain(np.ndarray):
    pass

class Slotted(np.ndarray):
    __slots__ = ('unit', 'scale')

class Mixed(Slotted):
    pass

class Reducing(Tagged):
    def __reduce__(self):
        make, arguments, state = super().__reduce__()
        return make, arguments, (*state, self.tag)
    def __setstate__(self, state):
        *numbers, self.tag = state
        super().__setstate__(tuple(numbers))

class Locked(Tagged):
    def __setattr__(self, name, value):
        if name == 'closed': raise AttributeError(name)
        super().__setattr__(name, value)

class Strict(np.ndarray):
    def __array_finalize__(self, of):
        if of is None: raise TypeError('make it by a view')

class Masked(np.ma.MaskedArray):
    pass

class Closed(Reducing):
    pass
"""

CASES: Final = {
    "masked array": (
        "m = np.ma.array([1, 2, 3, 4], mask=[0, 1, 0, 0]); n = [m]",
        ["m[0] = np.ma.masked", "m[1] = 7", "m.fill_value = 9", "m[2] += 1", "m.mask[3] = True"],
        "m.tolist(), m.mask.tolist(), m.fill_value, m.hardmask, m.sharedmask, n[0] is m",
    ),
    "hard mask": (
        "m = np.ma.array([1, 2, 3], mask=[0, 1, 0], hard_mask=True)",
        ["m[1] = 8", "m.soften_mask()", "m[1] = 9", "m.harden_mask()"],
        "m.tolist(), m.hardmask, m.sharedmask",
    ),
    "without a mask": (
        "m = np.ma.array([1., 2., 3.]); n = m[1:]",
        ["m[1] = 5", "m[2] = np.ma.masked", "n[0] = 7"],
        "m.tolist(), n.tolist(), m.mask is np.ma.nomask, np.shares_memory(m.data, n.data)",
    ),
    "masked array and its data": (
        "m = np.ma.array([1., 2., 3.], mask=[0, 1, 0]); d = m.data; k = m.mask",
        ["d[0] = 8", "m[2] = 9", "m.mask[0] = True", "d[1] += 1"],
        "m.tolist(), d.tolist(), k.tolist(), np.shares_memory(m.data, d), np.shares_memory(m.mask, k)",
    ),
    "masked array over an array": (
        "a = np.arange(4.); m = np.ma.array(a, mask=[0, 0, 1, 0], copy=False)",
        ["a[0] = 8", "m[1] = 9", "m[3] = np.ma.masked", "a[2] = 5"],
        "m.tolist(), a.tolist(), m.data.tolist(), np.shares_memory(m.data, a)",
    ),
    "masked array and its part": (
        "m = np.ma.array(np.arange(6.), mask=[0, 0, 1, 0, 0, 1]); p = m[1:4]",
        ["p[0] = 8", "m[2] = 9", "p[2] = 7", "m[3] += 1", "p[1] = np.ma.masked"],
        "m.tolist(), p.tolist(), p.sharedmask, m.sharedmask, np.shares_memory(m.data, p.data), np.shares_memory(m.mask, p.mask)",
    ),
    "masked fields": (
        "m = np.ma.array([(1, 2.)], mask=[(0, 1)], dtype=[('a', 'i4'), ('b', 'f8')]); f = m['a']",
        ["f[0] = 5", "m['b'][0] = 6.", "m['a'] = np.ma.masked"],
        "m.tolist(), m.mask.tolist(), f.tolist(), f.mask.tolist(), np.shares_memory(m.data, f.data)",
    ),
    "attributes of a masked array": (
        "l = [1]; m = Masked(np.arange(3), mask=[0, 1, 0]); m.tag = l; m._optinfo['k'] = l",
        ["m.tag.append(2)", "m[0] = 9", "m.more = 1", "del m.tag; m.tag = l", "l.append(3)"],
        "m.tolist(), m.tag, type(m).__name__, m.tag is l, m._optinfo, getattr(m, 'more', 0)",
    ),
    "recarray": (
        "r = np.rec.array([(1, 2.), (3, 4.)], dtype=[('a', 'i4'), ('b', 'f8')]); c = r.a",
        ["c[0] = 7", "r.b[1] = 8", "r['a'] += 1", "r[0] = (5, 6)"],
        "r.tolist(), c.tolist(), type(r).__name__, type(r[0]).__name__, np.shares_memory(r, c)",
    ),
    "recarray over a structured array": (
        "s = np.zeros(3, [('a', 'i4'), ('b', 'f8', 2)]); r = s.view(np.recarray); c = s['b']",
        ["s['a'][0] = 7", "r.b[1] = 8", "c[2, 0] = 6", "r.a = [1, 2, 3]"],
        "r.tolist(), s.tolist(), c.tolist(), np.shares_memory(r, c), np.shares_memory(s, r)",
    ),
    "matrix": (
        "m = np.matrix([[1, 2], [3, 4]]); a = m.A; row = m[0]; a1 = m.A1",
        ["m[0, 0] = 7", "a[1, 1] = 8", "row[0, 1] = 9", "a1[2] = 5"],
        "m.tolist(), a.tolist(), row.tolist(), a1.tolist(), (m * m).tolist(), type(row).__name__",
    ),
    "chararray": (
        "c = np.char.array(['ab', 'c']); p = c[1:]",
        ["c[0] = 'x'", "p[0] = 'yz'", "c += ''"],
        "c.tolist(), p.tolist(), type(c).__name__, c.upper().tolist()",
    ),
    "chararray over an array": (
        "a = np.array(['ab', 'c']); c = a.view(np.char.chararray)",
        ["c[0] = 'x'", "a[1] = 'yz'"],
        "c.tolist(), a.tolist(), type(c).__name__, np.shares_memory(a, c)",
    ),
    "subclass": (
        "t = Tagged([1., 2., 3.], tag=[0]); l = t.tag; u = [t]",
        ["t[0] = 7", "t.tag.append(1)", "t.other = 5", "t[1:] += 1", "l.append(2)", "del t.other"],
        "t.tolist(), t.tag, t.tag is l, u[0] is t, vars(t)",
    ),
    "subclass and its array": (
        "a = np.arange(4.); t = a.view(Tagged); t.tag = 'x'; b = t.view(np.ndarray)",
        ["t[0] = 7", "a[1] = 8", "b[2] = 9", "t.tag += 'y'"],
        "t.tolist(), a.tolist(), b.tolist(), t.tag, np.shares_memory(a, t), np.shares_memory(a, b)",
    ),
    "subclass that owns its memory": (
        "t = np.ndarray.__new__(Plain, 4); t[...] = 1; t.tag = 1; b = t.view(np.ndarray); c = b[1:]; d = t.view(np.ndarray)",
        ["t[0] = 7", "c[1] = 8", "b[2] = 9", "t.tag += 1", "d[3] = 4"],
        "t.tolist(), b.tolist(), c.tolist(), d.tolist(), t.tag, np.shares_memory(t, c), np.shares_memory(t, d)",
    ),
    "parts of a subclass": (
        "t = Tagged(np.arange(6.), tag=1); p = t[1:4]; q = p[::2]",
        ["p[0] = 7", "t[3] = 8", "q[0] += 1", "q.tag = 2", "p.tag = 'p'"],
        "t.tolist(), p.tolist(), q.tolist(), t.tag, p.tag, q.tag, type(q).__name__, np.shares_memory(t, q)",
    ),
    "part of a subclass alone": (
        "p = Tagged(np.arange(6.), tag=1)[1:4]; o = [p]",
        ["p[0] = 7", "p.tag = 2", "p2 = p[1:]; p2[0] = 5"],
        "p.tolist(), p.tag, o[0] is p",
    ),
    "subclass with a step": (
        "a = np.arange(12.).reshape(3, 4); t = a[:, ::2].view(Tagged); w = t.T",
        ["t[0, 0] = 7", "a[1, 2] = 8", "w[0, 2] = 9"],
        "t.tolist(), a.tolist(), w.tolist(), type(w).__name__",
    ),
    "slots": (
        "s = np.arange(3.).view(Slotted); s.unit = [1]; u = s.unit; s.scale = 2; a = s.view(np.ndarray)",
        ["s.unit.append(2)", "s[0] = 5", "s.scale = 3", "a[1] = 7", "del s.scale; s.scale = 4"],
        "s.tolist(), s.unit, s.scale, s.unit is u, a.tolist(), np.shares_memory(a, s)",
    ),
    "slots and attributes": (
        "s = np.arange(3.).view(Mixed); s.unit = 'm'; s.tag = [s.view(np.ndarray)]",
        ["s.unit += 'm'", "s.tag[0][0] = 5", "s[1] = 3"],
        "s.tolist(), s.unit, s.tag[0].tolist(), np.shares_memory(s, s.tag[0])",
    ),
    "own __reduce__": (
        "a = np.arange(6.); t = a[1:4].view(Reducing); t.tag = l = [1]; b = t.view(np.ndarray)",
        ["t[0] = 5", "a[2] = 7", "t.tag.append(2)", "b[2] = 3", "l.append(3)"],
        "t.tolist(), a.tolist(), b.tolist(), t.tag, t.tag is l, np.shares_memory(a, t)",
    ),
    "own __reduce__ alone": (
        "t = Reducing(np.arange(3.), tag=[1]); o = [t]",
        ["t[0] = 5", "t.tag.append(2)", "t[1:] = 8"],
        "t.tolist(), t.tag, o[0] is t",
    ),
    "own __setattr__": (
        "t = Locked(np.arange(3.), tag=[1]); o = [t]; vars(t)['closed'] = 1",
        ["t[0] = 5", "t.tag.append(2)", "t[1:] = 8"],
        "t.tolist(), t.tag, o[0] is t, t.closed",
    ),
    "own __array_finalize__ that refuses": (
        "a = np.arange(3.); t = a.view(Strict); o = [t]",
        ["t[0] = 5", "a[1] = 2"],
        "t.tolist(), a.tolist(), o[0] is t, np.shares_memory(a, t)",
    ),
    "a cycle": (
        "t = Tagged(np.arange(3.)); t.tag = t; o = [t]",
        ["t[0] = 5", "t.tag[1] = 2"],
        "t.tolist(), t.tag is t, o[0] is t",
    ),
    "a cycle through a list": (
        "t = Tagged(np.arange(3.)); o = [t]; t.tag = o",
        ["t[0] = 5", "t.tag[0][1] = 2"],
        "t.tolist(), t.tag is o, o[0] is t",
    ),
    "of objects": (
        "l = [1]; t = Tagged(np.array([l, None, 2], object), tag=1); o = [t]; a = t.view(np.ndarray)",
        ["t[0].append(2)", "a[2] = 4", "t[1] = l", "t.tag = 2", "l.append(3)"],
        "t.tolist(), a.tolist(), t.tag, t[0] is l, o[0] is t",
    ),
    "read-only": (
        "a = np.arange(3.); a.flags.writeable = False; t = a.view(Tagged); t.tag = [1]",
        ["t.tag.append(2)", "t.tag = [t.tag]"],
        "t.tolist(), t.tag, t.flags.writeable, a.flags.writeable, np.shares_memory(a, t)",
    ),
    "dates": (
        "a = np.array(['2020-01-01', '2021-01-01'], 'M8[D]'); t = a.view(Tagged); t.tag = 1",
        ["t[0] = '2022-02-02'", "a[1] = '2023-03-03'", "t.tag = 2"],
        "t.astype(str).tolist(), a.astype(str).tolist(), t.tag, np.shares_memory(a, t)",
    ),
    "large": (
        "a = np.zeros(20_000); t = a.view(Tagged); t.tag = [1]; p = t[5:15_000]; b = p.view(np.ndarray)",
        ["t[7] = 5", "a[8] = 6", "p[4] = 7", "t.tag.append(2)", "b[5] = 1"],
        "t[:20].tolist(), a[:20].tolist(), p[:15].tolist(), b[:9].tolist(), t.tag, p.tag is t.tag, np.shares_memory(a, p)",
    ),
    "large that owns its memory": (
        "t = np.ndarray.__new__(Plain, 20_000); t[...] = 1; t.tag = [1]; b = t.view(np.ndarray)",
        ["t[7] = 5", "b[8] = 6", "t.tag.append(2)"],
        "t[:20].tolist(), b[:20].tolist(), t.tag, np.shares_memory(t, b)",
    ),
    "large and masked": (
        "m = np.ma.array(np.arange(20_000.), mask=np.arange(20_000) % 2 == 0); d = m.data",
        ["m[1] = 5", "d[3] = 6", "m[4] = 7", "m[5] = np.ma.masked"],
        "m[:9].tolist(), d[:9].tolist(), np.shares_memory(m.data, d)",
    ),
    "mapped file": (
        "m = np.memmap(path, 'i4', 'w+', shape=6); v = m[1:4]; a = np.asarray(m); m.tag = [1]",
        ["m[0] = 5", "v[0] = 6", "a[2] = 7", "m.tag.append(2)", "m.flush()", "v[2] += 1"],
        "m.tolist(), v.tolist(), a.tolist(), type(m).__name__, type(v).__name__, m.mode, str(m.filename) == path, m.tag",
    ),
    "mapped file to read": (
        "np.arange(6.).tofile(path); m = np.memmap(path, 'f8', 'r'); o = [m, 0]; a = np.asarray(m)[1:]",
        ["o[1] += 1", "m.tag = 1", "o.append(2)"],
        "m.tolist(), a.tolist(), type(m).__name__, o, o[0] is m, m.flags.writeable, a.flags.writeable",
    ),
    "in a frame": (
        "t = Tagged(np.arange(3.), tag=1); f = pd.DataFrame({'a': [t, 2, None]}, dtype=object)",
        ["t[0] = 5", "f.at[0, 'a'][1] = 2", "t.tag = 2"],
        "t.tolist(), t.tag, f.at[0, 'a'] is t, type(f.at[0, 'a']).__name__",
    ),
    "an attribute of a module's class": (
        "r = np.rec.array([(1, 2.)], dtype=[('a', 'i4'), ('b', 'f8')]); r.__dict__['tag'] = l = [1]",
        ["l.append(2)", "r.a[0] = 5", "vars(r)['tag'].append(3)"],
        "r.tolist(), vars(r)['tag'], vars(r)['tag'] is l",
    ),
}  # fmt: skip
"""Statements that make arrays, statements that change them one after the other, an expression that shows all."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", (1, 2), ids=["remote first", "native first"])
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of np.matrix
def test_a_change_is_seen_on_both_sides(case: str, seed: int, tmp_path: Path) -> None:
    make, changes, shown = CASES[case]
    notebook = TwoMemories()
    notebook.native(SETUP)
    notebook.here["path"], notebook.model["path"] = str(tmp_path / "here"), str(tmp_path / "model")
    notebook.shows_alike([make, *changes], shown, random.Random(f"{case}{seed}"), first=seed)
