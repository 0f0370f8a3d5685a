"""Kinds of enums and of classes made by `typing`: a cell, and an expression that says what holds of them."""

from __future__ import annotations

ENUMS = {
    "enum": (
        "import enum\nclass Color(enum.Enum):\n    RED = 1\n    GREEN = 2\n    CRIMSON = 1\n"
        "    @property\n    def shown(self): return self.name.lower()\n    @classmethod\n    def first(cls): return cls.RED\n"
        "red, names = Color.RED, {Color.RED: 'r'}",
        "(red is Color.RED, Color(1) is red, Color['RED'] is red, Color.CRIMSON is red, names[Color.RED], red.shown,"
        " list(Color.__members__), Color.first() is red, [c.value for c in Color], len(Color), repr(red), Color.RED in Color)",
    ),
    "automatic values": (
        "import enum\nclass S(str, enum.Enum):\n    A = 'a'\n    B = 'b'\nclass N(enum.IntEnum):\n    ONE = enum.auto()\n    TWO = enum.auto()\n"
        "x, y = S.A, N.TWO",
        "(x == 'a', x is S('a'), y == 2, y is N(2), sorted([N.TWO, N.ONE])[0] is N.ONE, isinstance(y, int), S.A.upper())",
    ),
    "flags": (
        "import enum\nclass Perm(enum.Flag):\n    R = enum.auto()\n    W = enum.auto()\n    X = enum.auto()\n    RW = R | W\n"
        "class F(enum.IntFlag):\n    A = 1\n    B = 2\nrw, f, none = Perm.R | Perm.W, F.A | F.B, Perm(0)",
        "(rw is Perm.RW, Perm.R in rw, (Perm.R | Perm.X).value, f == 3, f is (F.A | F.B), none is Perm(0), (~Perm.R).value, repr(rw))",
    ),
    "members made by hand": (
        "import enum\nclass P(enum.Enum):\n    EARTH = (5.9, 6.3)\n    MARS = (0.6, 3.3)\n"
        "    def __init__(self, mass, radius): self.mass, self.radius = mass, radius\n"
        "    @property\n    def ratio(self): return self.mass / self.radius\n"
        "class L(enum.Enum):\n    def __new__(cls, label):\n        it = object.__new__(cls)\n        it._value_ = len(cls.__members__) + 1\n"
        "        it.label = label\n        return it\n    A = 'first'\n    B = 'second'\np, l = P.EARTH, L.B",
        "(p is P.EARTH, p.mass, p.ratio, l is L.B, l.value, l.label, L(1).label, [m.label for m in L])",
    ),
    "functions as values": (
        "import enum, functools\nclass Op(enum.Enum):\n    ADD = functools.partial(lambda a, b: a + b)\n    def __call__(self, *a): return self.value(*a)\nop = Op.ADD",
        "(op(1, 2), op is Op.ADD)",
    ),
    "a base with methods": (
        "import enum\nclass Base(enum.Enum):\n    def f(self): return self.value\n    @classmethod\n    def parse(cls, s): return cls[s.upper()]\n"
        "class A(Base):\n    X = 'x'\na = A.X",
        "(a.f(), A.parse('x') is a, isinstance(a, Base))",
    ),
    "in a class": (
        "import enum\nclass M:\n    class Mode(enum.Enum):\n        TRAIN = 'train'\n    mode = Mode.TRAIN\nm = M()",
        "(m.mode is M.Mode.TRAIN, str(m.mode))",
    ),
    "a data class of members": (
        "import enum\nfrom dataclasses import dataclass\n@dataclass\nclass Spec:\n    size: int\n"
        "class K(enum.Enum):\n    S = Spec(1)\n    L = Spec(2)\nk = K.L",
        "(k is K.L, k.value.size, K.L.value is k.value)",
    ),
}

TYPING = {
    "named tuples": (
        "import typing, collections\nclass P(typing.NamedTuple):\n    a: int\n    b: str = 'b'\n    def f(self): return self.a\n"
        "Q = collections.namedtuple('Q', 'x y', defaults=[5])\nclass R(Q):\n    __slots__ = ()\n    def s(self): return self.x + self.y\n"
        "p, q, r = P(1), Q(1), R(1, 2)",
        "(p, p.f(), p._replace(a=2).a, P._fields, P._field_defaults, q.y, q._asdict(), r.s(), isinstance(r, Q), hasattr(r, '__dict__'))",
    ),
    "typed dicts": (
        "import typing\nclass D(typing.TypedDict, total=False):\n    a: int\nclass E(D):\n    b: str\nd: E = {'a': 1, 'b': 'x'}",
        "(d, sorted(E.__annotations__), E.__total__, sorted(E.__optional_keys__), sorted(E.__required_keys__), E(a=1), D.__name__)",
    ),
    "protocols": (
        "import typing\n@typing.runtime_checkable\nclass Runs(typing.Protocol):\n    def run(self) -> int: ...\n"
        "class A:\n    def run(self): return 1\nclass B(Runs):\n    def run(self): return 2\na, b = A(), B()",
        "(isinstance(a, Runs), isinstance(3, Runs), b.run(), isinstance(b, Runs))",
    ),
    "generic classes": (
        "import typing\nT = typing.TypeVar('T')\nK = typing.TypeVar('K', bound=int)\nclass Box(typing.Generic[T]):\n"
        "    def __init__(self, x: T): self.x = x\nclass Ints(Box[int]): pass\nclass Pair(Box[T], typing.Generic[T, K]): pass\n"
        "b, i = Box[int](1), Ints(3)",
        "(b.x, i.x, Box[str](2).x, str(Box.__parameters__), str(Pair.__parameters__), str(Ints.__orig_bases__),"
        " Box.__parameters__[0] is T, typing.get_type_hints(Box.__init__)['x'] is T)",
    ),
    "abstract classes": (
        "import abc, collections.abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n    @property\n    @abc.abstractmethod\n    def p(self): ...\n"
        "class A(Base):\n    def f(self): return 1\n    p = 2\n@Base.register\nclass Virtual: pass\n"
        "class Seq(collections.abc.Sequence):\n    def __len__(self): return 2\n    def __getitem__(self, i):\n        if i > 1: raise IndexError\n        return i\n"
        "def fails(k):\n    try:\n        k()\n    except TypeError: return True\na, s, v = A(), Seq(), Virtual()",
        "(a.f(), issubclass(Virtual, Base), isinstance(v, Base), fails(Base), sorted(Base.__abstractmethods__), list(s), 1 in s,"
        " isinstance(a, Base), isinstance(3, Base))",
    ),
    "a subclass hook": (
        "import abc\nclass M(abc.ABCMeta):\n    def __instancecheck__(cls, it): return hasattr(it, 'q')\nclass A(metaclass=M): pass\nclass Q: q = 1",
        "(isinstance(Q(), A), isinstance(3, A))",
    ),
    "class_getitem": ("class A:\n    def __class_getitem__(cls, k): return (cls.__name__, k)", "A[3]"),
}
