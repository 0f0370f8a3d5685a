"""Views of memory, views of dicts and iterators show the object that they were made of on both sides, as natively."""

from __future__ import annotations

import random
from typing import Final

import pytest

from modal_gpu_magic.errors import TransferError
from tests.session.two_memories import TwoMemories

SETUP: Final = "import array, collections, functools, types, numpy as np"

CASES: Final = {
    "memory view": (
        "b = bytearray(b'abcdef'); m = memoryview(b); p = m[1:4]; o = [m, b]",
        ["b[0] = 65", "m[1] = 66", "p[1] = 67", "o[1][5] = 68"],
        "bytes(b), bytes(m), bytes(p), type(m).__name__, m.obj is b, p.obj is b, o[0] is m, o[1] is b",
    ),
    "memory view of another format": (
        "b = bytearray(24); m = memoryview(b).cast('i'); p = m[1:]; q = memoryview(b)[::2]; r = memoryview(b).cast('B', (4, 6))",
        ["b[0] = 65", "m[1] = 66", "p[1] = 67", "q[5] = 7", "r[3, 5] = 9"],
        "bytes(b), m.tolist(), p.tolist(), q.tolist(), r.tolist(), m.format, r.shape",
    ),
    "memory view to read": (
        "b = b'abcdef'; m = memoryview(b)[1:4]; w = memoryview(bytearray(b'xyz')).toreadonly()",
        ["n = 1", "n += m[0]"],
        "bytes(m), m.readonly, type(m).__name__, w.readonly, bytes(w), w.tolist()",
    ),
    "memory view alone": (
        "m = memoryview(bytearray(b'abc'))[1:]; o = [m]",
        ["m[0] = 65", "o[0][1] = 66", "m.obj[0] = 67"],
        "bytes(m), bytes(m.obj), o[0] is m",
    ),
    "words": (
        "w = array.array('i', [1, 2, 3]); m = memoryview(w); a = np.frombuffer(w, 'i4'); s = a[1:]",
        ["w[0] = 5", "m[1] = 6", "a[2] = 7", "s[0] += 1"],
        "w.tolist(), m.tolist(), a.tolist(), s.tolist(), m.obj is w",
    ),
    "array over bytes": (
        "b = bytearray(16); a = np.frombuffer(b, 'i4'); s = a[1:3]; u = np.ndarray((2, 2), 'u1', b, 3); o = [a]",
        ["b[0] = 5", "a[1] = 6", "s[1] = 7", "u[1, 1] = 8", "b[15] = 1"],
        "bytes(b), a.tolist(), s.tolist(), u.tolist(), o[0] is a, a.flags.writeable",
    ),
    "array over bytes alone": (
        "a = np.frombuffer(bytearray(range(16)), 'i4')[1:]; s = a[1:]; o = [a]",
        ["a[1] = 6", "s[1] = 7", "o[0][0] = 3"],
        "a.tolist(), s.tolist(), o[0] is a, np.shares_memory(a, s)",
    ),
    "array of a subclass over bytes": (
        "b = bytearray(16); a = np.frombuffer(b, 'i4').view(np.recarray); a.tag = [1]",
        ["b[0] = 5", "a[1] = 6", "a.tag.append(2)"],
        "bytes(b), a.tolist(), a.tag, type(a).__name__",
    ),
    "large array over bytes": (
        "b = bytearray(200_000); a = np.frombuffer(b, 'i4'); m = memoryview(b)[100:]",
        ["b[0] = 5", "a[30] = 6", "m[1] = 7"],
        "bytes(b[:150]), a[:40].tolist(), bytes(m[:50])",
    ),
    "memory view of an array": (
        "a = np.arange(6, dtype='i4'); m = memoryview(a)[2:]; n = memoryview(a.reshape(2, 3)); r = memoryview(a).toreadonly()",
        ["a[2] = 5", "m[1] = 6", "n[1, 2] = 7"],
        "a.tolist(), m.tolist(), n.tolist(), m.format, r.tolist(), r.readonly, m.readonly",
    ),
    "views of a dict": (
        "d = {'a': [1], 'b': 2}; k = d.keys(); v = d.values(); i = d.items(); o = [k, v, i]",
        ["d['c'] = 3", "del d['b']", "o[1].__iter__().__next__().append(4)", "d.update(e=5)"],
        "list(k), list(v), list(i), o[0] is k, o[1] is v, o[2] is i, type(k).__name__, next(iter(v)) is d['a']",
    ),
    "views of a dict alone": (
        "k = {'a': 1, 'b': 2}.keys(); o = [k]; v = {'c': [3]}.values()",
        ["n = list(k)", "next(iter(v)).append(4)"],
        "list(k), o[0] is k, list(v)",
    ),
    "views of an ordered dict": (
        "d = collections.OrderedDict(a=1, b=2); k = d.keys(); v = d.values(); i = d.items()",
        ["d['c'] = 3", "d.move_to_end('a')", "d.popitem(False)"],
        "list(k), list(v), list(i), type(k).__name__",
    ),
    "a proxy of a dict": (
        "d = {'a': [1]}; p = types.MappingProxyType(d); o = [p]; q = types.MappingProxyType(p)",
        ["d['b'] = 2", "p['a'].append(3)", "d.pop('b')"],
        "dict(p), o[0] is p, type(p).__name__, dict(q), p['a'] is d['a']",
    ),
    "a proxy of a dict in a class": (
        "class C:\n    def __init__(self): self._d = {}; self.d = types.MappingProxyType(self._d)\nc = C(); d = c.d",
        ["c._d['a'] = 1", "c._d['b'] = [2]", "d['b'].append(3)"],
        "dict(d), c.d is d",
    ),
    "counter's views": (
        "d = collections.Counter('aab'); e = collections.defaultdict(list, a=[1]); k = d.items(); v = e.keys()",
        ["d['c'] += 3", "e['b'].append(2)", "d.update('b')"],
        "list(k), list(v)",
    ),
    "an iterator over a list": (
        "l = [1, 2, 3, 4]; i = iter(l); j = i; r = reversed(l); o = [i]",
        ["n = next(i)", "l.append(5)", "n = next(o[0])", "n = next(r)", "n = next(j)"],
        "i is j, o[0] is i, i.__length_hint__(), r.__length_hint__(), l",
    ),
    "an iterator that has ended": (
        "l = [1, 2]; i = iter(l); o = [i]",
        ["n = next(i)", "n = list(i)", "l.append(3)", "n = list(o[0])"],
        "o[0] is i, n if 'n' in globals() else None, i.__length_hint__()",
    ),
    "other iterators": (
        "t = iter((1, 2, 3)); r = iter(range(5)); s = iter('abc'); b = iter(b'abc'); o = [t, r, s, b]",
        ["n = next(t)", "n = next(o[1])", "n = next(s)", "n = next(b)", "n = list(o[2])"],
        "[x.__length_hint__() for x in (t, r, s, b)], o[0] is t, o[1] is r, o[2] is s, o[3] is b",
    ),
    "a function with a cache": (
        "@functools.lru_cache(maxsize=3)\ndef f(x): return [x]\nf.tag = l = [1]; o = [f]",
        ["f.tag.append(2)", "n = f(3)", "f.more = 1", "l.append(4)"],
        "f.tag, f.tag is l, o[0] is f, getattr(f, 'more', 0), f.cache_parameters(), f(2)",
    ),
}  # fmt: skip
"""Statements that make objects, statements that change them one after the other, an expression that shows all."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2], ids=["remote first", "native first"])
def test_a_change_is_seen_on_both_sides(case: str, seed: int) -> None:
    make, changes, shown = CASES[case]
    notebook = TwoMemories()
    notebook.native(SETUP)
    notebook.shows_alike([make, *changes], shown, random.Random(f"{case}{seed}"), first=seed)


def test_bytes_that_changed_inside_a_value_that_stayed_are_stale() -> None:
    notebook = TwoMemories(fetch_bytes=10_000)
    notebook.native("b = bytearray(b'abc')")
    notebook.remote("held = [b, bytes(100_000)]")
    notebook.remote("held[0][0] = 65")
    notebook.fetch_all()
    assert bytes(notebook.here["b"]) == bytes(notebook.model["b"])


@pytest.mark.parametrize("source", ["io.BytesIO(b'abc').getbuffer()", "memoryview((ctypes.c_int * 3)())"])
def test_memory_of_one_process_is_refused(source: str) -> None:
    notebook = TwoMemories()
    notebook.native(f"import io, ctypes; m = {source}")
    with pytest.raises(TransferError, match=r"`m`: it is a view of the memory of a .*: send a copy, bytes\(view\)"):
        notebook.remote("n = bytes(m)")
