"""What a cell binds, reads, may do without and deletes where a statement may not run, may fail, or runs elsewhere."""

from __future__ import annotations

import pytest

from modal_gpu_magic.plan.cell.names import analyse

# source, reads less builtins, maybe, binds, deletes
CASES = [
    ("if False:\n    x = 3", "", "", "", ""),
    ("if 0:\n    x = y\nelse:\n    z = 1\nz", "", "", "z", ""),
    ("if True:\n    x = 1\nx", "", "", "x", ""),
    ("if not True:\n    x = y", "", "", "", ""),
    ("x = 1 if True else y", "", "", "x", ""),
    ("while False:\n    x = y\nelse:\n    z = 1\nz", "", "", "z", ""),
    ("while 0: x = 3\nx", "x", "", "", ""),
    ("if c:\n    x = 3", "c", "", "x", ""),
    ("if c:\n    x = 3\nx", "c x", "x", "x", ""),
    ("for x in []:\n    y = x", "", "", "x y", ""),
    ("for x in []:\n    pass\nx", "x", "x", "x", ""),
    ("for x in xs:\n    y = x\ny", "xs y", "y", "x y", ""),
    ("for i in range(3):\n    x = i\nelse:\n    z = x", "x", "x", "i x z", ""),
    ("while c:\n    x = 1\nx", "c x", "x", "x", ""),
    ("while True:\n    x = f()\n    if x: break\nx", "f", "", "x", ""),
    ("while True:\n    if f(): break\n    x = 1\nx", "f x", "x", "x", ""),
    ("while 1:\n    x = f()\n    break", "f", "", "x", ""),
    ("try:\n    x = f()\nexcept E:\n    pass\nx", "E f x", "x", "x", ""),
    ("try:\n    x = f()\nexcept E:\n    x = None\nx", "E f", "", "x", ""),
    ("try:\n    f()\n    x = 1\nfinally:\n    y = 2\nx, y", "f", "", "x y", ""),
    ("raise E\nx = 3", "E", "", "", ""),
    ("f()\nx = 3", "f", "", "x", ""),
    ("x = f()", "f", "", "x", ""),
    ("a and (x := b)", "a b", "", "x", ""),
    ("a and (x := b)\nx", "a b x", "x", "x", ""),
    ("(x := a) and b\nx", "a b", "", "x", ""),
    ("a if c else (x := b)\nx", "a b c x", "x", "x", ""),
    ("any((hit := v) for v in vs)\nhit", "hit vs", "hit", "hit", ""),
    ("with suppress(E): x = f()", "E f suppress", "", "x", ""),
    ("with suppress(E): x = f()\nx", "E f suppress x", "x", "x", ""),
    ("with pytest.raises(E): x = f()\nx", "E f pytest x", "x", "x", ""),
    ("with open(p) as h: x = h.read()\nx", "p", "", "h x", ""),
    ("def f():\n    global x\n    x = 1\nf()\nx", "x", "x", "f x", ""),
    ("def f():\n    global x\n    x += 1\nf()", "x", "x", "f x", ""),
    ("def f():\n    global x\n    import x\nf()", "", "", "f x", ""),
    ("def f():\n    global x\n    del x\nf()", "x", "", "f", "x"),
    ("try:\n    import x\nexcept ImportError:\n    pass\nx", "x", "x", "x", ""),
    ("try:\n    import x\nexcept ImportError:\n    x = None\nx", "", "", "x", ""),
    ("try:\n    import a as m\nexcept ImportError:\n    import b as m\nm", "", "", "m", ""),
    ("del x", "x", "", "", "x"),
    ("x = 1\ndel x", "", "", "x", "x"),
    ("if c:\n    del x\nx", "c x", "", "", "x"),
    ("try:\n    del x\nexcept NameError:\n    pass", "x", "", "", "x"),
    ("try:\n    f()\nexcept E as e:\n    pass\ne", "E e f", "e", "e", "e"),
    ("x += 1", "x", "", "x", ""),
    ("for i in xs:\n    total += i", "total xs", "", "i total", ""),
    ("x = 0\nx += 1", "", "", "x", ""),
    ("from a import *", "", "", "", ""),
    ("from a import *\nx", "x", "x", "", ""),
    ("x\nfrom a import *", "x", "", "", ""),
    ("%time x = f()", "f", "", "x", ""),
    ("%time x = f()\nx", "f", "", "x", ""),
    ("%%capture out\nx = f()", "f", "", "out x", ""),
    ("%%time\nx = f()\nx", "f", "", "x", ""),
    ("%%timeit\nx = f()", "f", "", "", ""),
    ("x: int = 3", "", "", "x", ""),
    ("x: int", "", "", "", ""),
    ("x: Frame = y", "Frame y", "Frame", "x", ""),
    ("a, *b = c", "c", "", "a b", ""),
    ("a[i], b.c = d", "a b d i", "", "", ""),
    ("with a as (b, c): pass", "a", "", "b c", ""),
    ("async with a as b: pass", "a", "", "b", ""),
    ("match v:\n    case [x, *r]: pass\nx", "v x", "x", "r x", ""),
    ("import a.b.c", "", "", "a", ""),
    ("import a.b as c", "", "", "c", ""),
    ("x = y = z = f()", "f", "", "x y z", ""),
    ("f(x=1)", "f", "", "", ""),
    ("[x for x in xs]", "xs", "", "", ""),
    ("lambda: (x := 1)", "", "", "", ""),
    ("def f():\n    x = 1", "", "", "f", ""),
    ("class A:\n    x = 1", "", "", "A", ""),
    ("if __name__ == '__main__':\n    x = 1", "__name__", "", "x", ""),
    ("if TYPE_CHECKING:\n    import a", "TYPE_CHECKING", "", "a", ""),
    ("assert (x := f())\nx", "f x", "x", "x", ""),
    ("x = !ls", "", "", "x", ""),
    ("%%bash --out x\nls", "", "", "x", ""),
    ("if c:\n    raise E\nx = 1\nx", "E c", "", "x", ""),
    ("for x in xs:\n    if x: break\nelse:\n    raise E\nx", "E x xs", "x", "x", ""),
    ("while True:\n    for i in xs:\n        x = i\n    else:\n        break\nx", "x xs", "x", "i x", ""),
    ("while True:\n    for i in xs:\n        break\n    x = 1\n    break\nx", "xs", "", "i x", ""),
    ("while True:\n    try:\n        x = f()\n        break\n    except E:\n        pass\nx", "E f", "", "x", ""),
    ("def f():\n    while True:\n        x = 1\nx", "x", "", "f", ""),
    ("return_ = 1\nx = return_", "", "", "return_ x", ""),
]
BUILTINS = {"int", "range", "any", "open", "ImportError", "NameError"}


@pytest.mark.parametrize("source, reads, maybe, binds, deletes", CASES, ids=[each[0] for each in CASES])
def test_binding(source: str, reads: str, maybe: str, binds: str, deletes: str) -> None:
    found = analyse(source)
    assert found.syntax_ok
    got = tuple(" ".join(sorted(names - BUILTINS)) for names in (found.reads, found.maybe, found.binds, found.deletes))
    assert got == (reads, maybe, binds, deletes)
