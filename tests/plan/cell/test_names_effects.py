"""What a cell deletes, imports, changes in place and may do without: tables of cells with their exact sets."""

from __future__ import annotations

import pytest

from modal_gpu_magic.plan.cell.names import analyse


def words(names: frozenset[str]) -> str:
    return " ".join(sorted(names))


@pytest.mark.parametrize(
    "source, deletes",
    [
        ("x = 1", ""),
        ("del x, (y, z)", "x y z"),
        ("del x.a, y[0]", ""),
        ("if c:\n    del x", "x"),
        ("try:\n    f()\nexcept E as e:\n    raise", "e"),
        ("def f():\n    global x\n    del x", "x"),
        ("def f(x):\n    del x", ""),
        ("class A:\n    x = 1\n    del x", ""),
        ("%xdel -n x", "x"),
    ],
)
def test_deletes(source: str, deletes: str) -> None:
    assert words(analyse(source).deletes) == deletes


@pytest.mark.parametrize(
    "source, imports, stars",
    [
        ("import a.b, c as d", "a c", ""),
        ("from a.b import c", "a", ""),
        ("from . import b\nfrom .c import d", "", ""),
        ("def f():\n    import a", "a", ""),
        ("try:\n    import a\nexcept ImportError:\n    a = None", "a", ""),
        ("from a.b import *\nfrom ..c import *", "a", "..c a.b"),
        ("importlib.import_module('a.b')\n__import__('c')", "a c", ""),
        ("importlib.import_module('.b', package)\n__import__(name)", "", ""),
        ("%load_ext tensorboard", "tensorboard", ""),
        ("%matplotlib inline", "matplotlib", ""),
        ("%%time\nimport a", "a", ""),
        ("exec('import a')", "a", ""),
    ],
)
def test_imports(source: str, imports: str, stars: str) -> None:
    found = analyse(source)
    assert (words(found.imports), words(found.stars)) == (imports, stars)


@pytest.mark.parametrize(
    "source, mutates",
    [
        ("x = 1", ""),
        ("x.a = 1", "x"),
        ("x.a.b[0].c = 1", "x"),
        ("x[0], y.b = z", "x y"),
        ("for x.a in xs:\n    pass", "x xs"),
        ("x += y", "x"),
        ("x[i] += y", "x"),
        ("del x[0], y.a", "x y"),
        ("x.append(y)", "x y"),
        ("x.a[0].append(1)", "x"),
        ("model(batch)", "batch model"),
        ("f(a.b, *c, k=d[0], **e)", "a c d e f"),
        ("f([a, (b, c)], {'k': d}, e if g else h)", "a b c d e f h"),
        ("f(a + b, -c)", "f"),
        ("f(g(x))", "f g x"),
        ("f(lambda: x.append(1))", "f x"),
        ("[f(x) for x in xs]", "f xs"),
        ("with x:\n    pass", "x"),
        ("def f(x):\n    x.append(1)\n    y.append(1)", "y"),
        ("class A:\n    x = []\n    x.append(y)", "y"),
        ("@f\ndef g(): ...", "f"),
        ("%time x.append(1)", "x"),
        ("x = y", ""),
        ("x.a", ""),
    ],
)
def test_mutates(source: str, mutates: str) -> None:
    assert words(analyse(source).mutates) == mutates


@pytest.mark.parametrize(
    "source, calls",
    [
        ("", False),
        ("x = 1\ny = [x, (x, 2)]\nif x < 3:\n    z = x + 1", False),
        ("def f(x):\n    return g(x)", False),
        ("f = lambda x: g(x)", False),
        ("while c:\n    break", False),
        ("f()", True),
        ("x.a", True),
        ("x[0]", True),
        ("x += 1", True),
        ("await x", True),
        ("f'{x}'", True),
        ("for x in xs: pass", True),
        ("[x for x in xs]", True),
        ("a, *b = c", True),
        ("import a", True),
        ("class A: pass", True),
        ("@f\ndef g(): ...", True),
        ("def f(x=g()): ...", True),
        ("with x: pass", True),
        ("!ls", True),
    ],
)
def test_calls(source: str, calls: bool) -> None:
    assert analyse(source).calls is calls


@pytest.mark.parametrize(
    "source, maybe",
    [
        ("x", ""),
        ("x\nx = 1", ""),
        ("for i in xs:\n    loss = i\nloss", "loss"),
        ("loss\nfor i in xs:\n    loss = i\nloss", ""),
        ("if c:\n    x = 1\nx", "x"),
        ("def main():\n    return helper()\ndef helper(): ...", "helper"),
        ("def main():\n    return helper()", ""),
        ("class A:\n    for i in xs:\n        pass\n    n = i", "i"),
        ("x: 'T' = 1", "T"),
        ("df.query('a > @k')", "k"),
        ("del x", ""),
    ],
)
def test_maybe(source: str, maybe: str) -> None:
    found = analyse(source)
    assert words(found.maybe) == maybe
    assert found.maybe <= found.reads
