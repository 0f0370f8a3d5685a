"""What a cell reads and binds: tables of cells with their exact sets. Texts that are no cell."""

from __future__ import annotations

import sys

import pytest

from modal_gpu_magic.plan.cell.names import Names, analyse


def words(names: frozenset[str]) -> str:
    return " ".join(sorted(names))


# source, reads, binds
PLAIN = [
    ("", "", ""),
    ("# nothing", "", ""),
    ("x", "x", ""),
    ("x = 1", "", "x"),
    ("x = y", "y", "x"),
    ("x = x + 1", "x", "x"),
    ("x = 1\ny = x", "", "x y"),
    ("y = x\nx = 1", "x", "x y"),
    ("x += 1", "x", "x"),
    ("x = 1\nx += y", "y", "x"),
    ("x[i] += v", "i v x", ""),
    ("x[i] = (x := v)", "i v", "x"),
    ("a = b = c", "c", "a b"),
    ("a, (b, *c) = d", "d", "a b c"),
    ("[a, b] = b, a", "a b", "a b"),
    ("a.b = c", "a c", ""),
    ("a[b].c[d] = e", "a b d e", ""),
    ("a.b.c", "a", ""),
    ("a[b:c:d]", "a b c d", ""),
    ("f(a, *b, k=c, **d)", "a b c d f", ""),
    ("print(len(xs))", "len print xs", ""),
    ("x: int", "int", ""),
    ("x: int = y", "int y", "x"),
    ("x: 'Frame' = y", "Frame y", "x"),
    ("x: Optional['Frame']", "Frame Optional", ""),
    ("x: Literal['left']", "Literal", ""),
    ("x: typing.Literal['left']", "typing", ""),
    ("a.b: T = c", "T a c", ""),
    ("from __future__ import annotations\nx: T = 1", "T", "annotations x"),
    ("{k: v, **m}", "k m v", ""),
    ("{(x := 1): x, y: (y := 2)}", "y", "x y"),
    ("{a: x, (x := 1): 2}", "a x", "x"),
    ("(x := x)", "x", "x"),
    ("f'{x} {y!r:>{width}} {{z}}'", "width x y", ""),
    ("f'{(t := x)}' + t", "x", "t"),
    ("(x := f(y)) + x", "f y", "x"),
    ("a and (x := b)\nx", "a b x", "x"),
    ("a < (x := b) < (y := c)\nx\ny", "a b c y", "x y"),
    ("(x := 1) if c else (x := 2)\nx", "c", "x"),
    ("(x := 1) if c else 2\nx", "c x", "x"),
    ("await f(x)", "f x", ""),
    ("async with a as b:\n    b", "a", "b"),
    ("async for a in b:\n    a", "b", "a"),
    ("xs = [y async for y in z]", "z", "xs"),
    ("None, True, ..., __debug__", "", ""),
]

BRANCHES = [
    ("if c:\n    x = 1\nx", "c x", "x"),
    ("if c:\n    x = 1\nelse:\n    x = 2\nx", "c", "x"),
    ("if c:\n    x = 1\nelif d:\n    x = 2\nelse:\n    raise E\nx", "E c d", "x"),
    ("if c:\n    x = 1\nelse:\n    y = 1\nx, y", "c x y", "x y"),
    ("if (x := c):\n    pass\nx", "c", "x"),
    ("while c:\n    x = 1\nx", "c x", "x"),
    ("while (x := f()):\n    x\nx", "f", "x"),
    ("for i in xs:\n    total += i", "total xs", "i total"),
    ("total = 0\nfor i in xs:\n    total += i\ntotal", "xs", "i total"),
    ("for i in xs:\n    y = i\nelse:\n    z = y\ni", "i xs y", "i y z"),
    ("for a.b in xs:\n    pass", "a xs", ""),
    ("for i, (j, k) in xs:\n    print(i, j, k)", "print xs", "i j k"),
    ("for i in xs:\n    if i:\n        break\n    y", "xs y", "i"),
    ("try:\n    import fast as m\nexcept ImportError:\n    import slow as m\nm", "ImportError", "m"),
    ("try:\n    x = f()\nexcept E:\n    pass\nx", "E f x", "x"),
    ("try:\n    x = f()\nexcept E:\n    raise\nx", "E f", "x"),
    ("try:\n    x = f()\nfinally:\n    y = 1\nx, y", "f", "x y"),
    ("try:\n    x = 1\nfinally:\n    x", "x", "x"),
    ("try:\n    f()\nexcept E as e:\n    print(e)", "E f print", "e"),
    ("try:\n    f()\nexcept E:\n    x = 1\nelse:\n    x = 2\nx", "E f", "x"),
    ("with open(p) as h:\n    t = h.read()\nt", "open p", "h t"),
    ("with torch.no_grad(), torch.autocast('cuda'):\n    y = model(x)\ny", "model torch x", "y"),
    ("with suppress(E):\n    x = 1\nx", "E suppress x", "x"),
    ("with lock:\n    x = 1\nx", "lock x", "x"),
    ("with lock as a.b, c as (d, e):\n    d, e", "a c lock", "d e"),
    ("assert (x := y), z\nx", "x y z", "x"),
    ("raise E from x\ny", "E x", ""),
    ("match v:\n    case 1:\n        x = 1\n    case _:\n        x = 2\nx", "v", "x"),
    ("match v:\n    case [a, *rest] if a > b:\n        a, rest", "b v", "a rest"),
    ("match v:\n    case {'k': k, **others}:\n        k, others", "v", "k others"),
    ("match v:\n    case Point(x=px) | [px]:\n        px\npx", "Point px v", "px"),
    ("match v:\n    case [x, x.k]:\n        x", "v x", "x"),
    ("match v:\n    case A.B:\n        pass", "A v", ""),
    ("match v:\n    case (1 | 2) as n:\n        n", "v", "n"),
    ("del x", "x", ""),
    ("x = 1\ndel x", "", "x"),
    ("x = 1\ndel x\nx", "", "x"),
    ("del x[i], y.a", "i x y", ""),
]

BLOCKS = [
    ("[x for x in xs]", "xs", ""),
    ("[x for x in x]", "x", ""),
    ("[x for xs in xss for x in xs if x > k]", "k xss", ""),
    ("[y for x in xs for y in y]", "xs", ""),
    ("{k: v for k, v in d.items()}", "d", ""),
    ("{f(x) for x in xs}", "f xs", ""),
    ("sum(x * w for x in xs)", "sum w xs", ""),
    ("[(last := x) for x in xs]\nlast", "last xs", "last"),
    ("any((hit := x) > k for x in xs)", "any k xs", "hit"),
    ("lambda a, *b, c=d, **e: a + b + c + e + f", "d f", ""),
    ("g = lambda x: (y := x)", "", "g"),
    ("def f(a, /, b, *c, d=e, **g):\n    h = a + b + c + d + g\n    return h + k", "e k", "f"),
    ("def f(x: T) -> R:\n    y: Local = x\n    return y", "R T", "f"),
    ("def f():\n    global n\n    n += 1", "n", "f n"),
    ("def f():\n    global n\n    n = 1\n    return n", "", "f n"),
    ("def f():\n    n = 1\n    def g():\n        nonlocal n\n        n += m\n    return g", "m", "f"),
    ("def f(x):\n    def g():\n        global x\n        return x", "x", "f"),
    ("def f(n):\n    return f(n - 1)", "", "f"),
    ("@f\ndef f():\n    pass", "f", "f"),
    ("@cache\ndef fib(n):\n    return fib(n - 1)", "cache", "fib"),
    ("def f():\n    return g()\ndef g():\n    return 1", "g", "f g"),
    ("def g():\n    return 1\ndef f():\n    return g()", "", "f g"),
    ("def f():\n    import numpy as np\n    return np.pi", "", "f"),
    ("def f():\n    if c:\n        x = 1\n    return x", "c", "f"),
    ("def f():\n    try:\n        pass\n    except E as e:\n        return e", "E", "f"),
    ("def f():\n    with a as b:\n        for c in b:\n            yield c", "a", "f"),
    ("def f():\n    return [x for x in xs if (y := x)], y", "xs", "f"),
    ("def f(x=[i for i in r]):\n    return lambda: x", "r", "f"),
    ("async def f():\n    async with a as b:\n        return await b", "a", "f"),
    ("def f():\n    match v:\n        case [x, *y]:\n            return x, y", "v", "f"),
    ("class A(B, metaclass=M):\n    x = 1\n    y = x", "B M", "A"),
    ("class A:\n    x = x", "x", "A"),
    ("class A:\n    x = 1\n    def m(self):\n        return x", "x", "A"),
    ("class A:\n    xs = []\n    ys = [x for x in xs]", "", "A"),
    ("class A:\n    n = 1\n    ys = [n for x in r]", "n r", "A"),
    ("class A:\n    x = 1\n    del x\n    y = x", "x", "A"),
    ("class A:\n    x = 1\n    y = x\n    del x", "", "A"),
    ("class A:\n    x = 1\n    for i in xs:\n        del x\n    y = x", "x xs", "A"),
    ("class A:\n    e = 1\n    try:\n        f()\n    except E as e:\n        pass\n    y = e", "E e f", "A"),
    ("class A:\n    if c:\n        x = 1\n    y = x", "c x", "A"),
    ("class A:\n    global g\n    g = 1\ng", "", "A g"),
    ("class A:\n    def m(self):\n        return A(), __class__, super()", "super", "A"),
    ("class A:\n    z = A", "A", "A"),
    ("class A:\n    name = __qualname__", "", "A"),
    ("class A:\n    def m(self):\n        return __secret", "_A__secret", "A"),
    ("@dataclass\nclass A:\n    x: int = field(default=k)", "dataclass field int k", "A"),
    ("def f():\n    class A:\n        x = 1\n    return A", "", "f"),
    ("def f(x):\n    class A:\n        y = x\n    return A", "", "f"),
]

IMPORTS = [
    ("import a", "", "a"),
    ("import a.b.c", "", "a"),
    ("import a.b as c, d", "", "c d"),
    ("from a import b, c as d", "", "b d"),
    ("from . import sibling", "", "sibling"),
    ("from a import *\nb", "b", ""),
]

STRINGS = [
    ("exec('x = y')\nx", "exec y", "x"),
    ("eval('a + b')", "a b eval", ""),
    ("exec('x = y', ns)\nx", "exec ns x y", "x"),
    ("def f():\n    exec('x = 1')\n    return x", "exec x", "f x"),
    ("exec('not python (')", "exec", ""),
    ("exec(code)", "code exec", ""),
    ("df.query('price > @limit')", "df limit", ""),
    ("duckdb.sql('select * from df join other using (k)')", "df duckdb other", ""),
]

MAGICS = [
    ("!ls", "", ""),
    ("!echo {x}", "x", ""),
    ("!echo {x.y[0]} $z $$home ${braced}", "braced x z", ""),
    ("!echo {{x}} '$1'", "", ""),
    ("!awk '{print $1}' f", "", ""),
    ("!echo {", "", ""),
    ("files = !ls {path}\nfiles", "path", "files"),
    ("x = 1\n!echo {x}", "", "x"),
    ("!!ls $d", "d", ""),
    ("%timeit f(x)", "f x", ""),
    ("%timeit -n 10 -r3 f(x)", "f x", ""),
    ("%timeit -qo y = f(x)", "f x", ""),
    ("r = %timeit -o f(x)", "f x", "r"),
    ("%timeit -v best f(x)", "f x", "best"),
    ("%%timeit -n1 s = g(a)\nf(s)\nt = 1", "a f g", ""),
    ("%%timeit -v best\nf(x)", "f x", "best"),
    ("%time y = f(x)\ny", "f x", "y"),
    ("y = %time f(x)", "f x", "y"),
    ("%%time\ny = f(x)\n!echo {z}\ny", "f x z", "y"),
    ("%%capture out\ny = f(x)", "f x", "out y"),
    ("%%capture --no-stderr\ny = 1", "", "y"),
    ("%%capture out\n%%time\ny = f(x)", "f x", "out y"),
    ("%prun -s cumtime f(x)", "f x", ""),
    ("%%prun -q -l 10\ny = f(x)", "f x", "y"),
    ("%env A={x}", "x", ""),
    ("%cd $folder", "folder", ""),
    ("%pip install {package}", "package", ""),
    ("%run -i script.py", "", ""),
    ("x?", "x", ""),
    ("??x.y", "x", ""),
    ("%psource f", "f", ""),
    ("%xdel x", "x", ""),
    ("%%bash\necho $HOME {x}", "", ""),
    ("%%bash --out o --err e {flag}\nls", "flag", "e o"),
    ("%%html\n<b>{x}</b>", "", ""),
    ("%%writefile {name}\nimport nothing", "name", ""),
    ("%%sx\nls {d}", "d", ""),
    ("%matplotlib inline", "", ""),
    ("if c:\n    !ls {x}\n    %time y = 1\ny", "c x y", "y"),
    ("def f(d):\n    !ls {d} {e}", "e", "f"),
    ("%%time\nnot python (", "", ""),
    ("%nosuchmagic {x}", "x", ""),
    (">>> y = x", "x", "y"),
    ("get_ipython().run_line_magic('time', 'y = x')", "x", "y"),
    ("ip = get_ipython()", "get_ipython", "ip"),
]

CASES = [*PLAIN, *BRANCHES, *BLOCKS, *IMPORTS, *STRINGS, *MAGICS]
if sys.version_info >= (3, 11):
    CASES += [("try:\n    x = f()\nexcept* E as e:\n    x = 1\nx", "E f", "e x")]
if sys.version_info >= (3, 12):
    CASES += [
        ("type X = list[T]", "T list", "X"),
        ("type Tree[T: B] = list[Tree[T]]", "B list", "Tree"),
        ("def f[T: B](x: T) -> T:\n    return x", "B", "f"),
        ("class A[T](Base[T]):\n    x: T\n    def m(self) -> T: ...", "Base", "A"),
        ("class A[__T](Base[__T]): ...", "Base", "A"),
        ("class A:\n    B = int\n    def m[T: B](self, x: B) -> T: ...", "int", "A"),
        ("f'{d['k']}'", "d", ""),
    ]


@pytest.mark.parametrize("source, reads, binds", CASES, ids=[source for source, *_ in CASES])
def test_reads_and_binds(source: str, reads: str, binds: str) -> None:
    found = analyse(source)
    assert found.syntax_ok
    assert (words(found.reads), words(found.binds)) == (reads, binds)


def test_the_table_is_large() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize(
    "source",
    [
        "x = (",
        "x = ",
        "return x",
        "def f(a, a): pass",
        "def f():\n    x = 1\n    global x",
        "nonlocal x",
        "break",
        "[x async for x in y",
        "if x:\npass",
        "a = b = !ls",
        "x = %",
        "\0",
        "\ud800",
        "'\ud800'",
        "(" * 5000,
        "x = '''",
        "  x\n y",
    ],
)
def test_no_valid_cell(source: str) -> None:
    assert analyse(source) == Names(syntax_ok=False)


def test_a_tree_too_deep_to_follow_counts_whole() -> None:
    found = analyse("total = " + " + ".join(["x", *["f(y)"] * 800]))
    assert found.syntax_ok
    assert found.reads >= {"x", "y", "f"}
    assert found.binds >= {"total"}
    assert found.calls


def test_the_shell_s_own_transformers_are_used() -> None:
    found = analyse("LET x BE y", lambda source: source.replace("LET ", "").replace(" BE ", " = "))
    assert (words(found.reads), words(found.binds)) == ("y", "x")


def test_a_transformer_that_fails_is_no_valid_cell() -> None:
    def broken(source: str) -> str:
        raise LookupError(source)

    assert not analyse("x", broken).syntax_ok


def test_the_compiler_s_warnings_are_left_to_the_cell(recwarn: pytest.WarningsRecorder) -> None:
    assert analyse("x = '\\d' is y").syntax_ok
    assert not recwarn.list
