"""Kinds of classes and instances, as notebooks have them: a cell, and an expression that says what holds of them."""

from __future__ import annotations

from tests.wire.kinds_of_enums import ENUMS, TYPING

SLOTS = {
    "slots": (
        "class P:\n    __slots__ = ('x', 'y')\n    def __init__(self, x): self.x = x\np = P(1)",
        "(p.x, hasattr(p, 'y'), hasattr(p, '__dict__'), P.__slots__, isinstance(p, P))",
    ),
    "slots of one string": (
        "class P:\n    __slots__ = 'x'\np = P()\np.x = [1]",
        "(p.x, P.__slots__, hasattr(p, '__dict__'))",
    ),
    "slots with documentation": ("class P:\n    __slots__ = {'x': 'the x'}\np = P()\np.x = 1", "(p.x, P.__slots__)"),
    "slots from an iterator": (
        "class P:\n    __slots__ = iter(['x'])\np = P()\np.x = 1",
        "(p.x, hasattr(p, '__dict__'))",
    ),
    "private slots": (
        "class P:\n    __slots__ = ('__x', '_y')\n    def __init__(self): self.__x, self._y = 1, 2\n"
        "    def get(self): return self.__x\np = P()",
        "(p.get(), p._y, hasattr(p, '__dict__'))",
    ),
    "slots and a dict": (
        "class P:\n    __slots__ = ('x', '__dict__')\np = P()\np.x, p.z = 1, 2",
        "(p.x, p.z, p.__dict__)",
    ),
    "slots and weak references": (
        "import weakref\nclass P:\n    __slots__ = ('x', '__weakref__')\np = P()\np.x = 1",
        "(p.x, weakref.ref(p)() is p, hasattr(p, '__dict__'))",
    ),
    "slots inherited": (
        "class A:\n    __slots__ = ('a',)\nclass B(A):\n    __slots__ = ('b',)\nclass C(B): pass\n"
        "b, c = B(), C()\nb.a, b.b, c.a, c.c = 1, 2, 3, 4",
        "(b.a, b.b, hasattr(b, '__dict__'), c.a, c.c, c.__dict__, B.__slots__)",
    ),
    "no slots": (
        "class A: pass\nclass B(A):\n    __slots__ = ('b',)\nb = B()\nb.b, b.z = 1, 2",
        "(b.b, b.z, b.__dict__)",
    ),
    "forbids assignment": (
        "class P:\n    __slots__ = ('x',)\n    def __init__(self, x): object.__setattr__(self, 'x', x)\n"
        "    def __setattr__(self, name, value): raise AttributeError('fixed')\np = P(3)",
        "p.x",
    ),
    "state of its own": (
        "class P:\n    __slots__ = ('x', 'y')\n    def __getstate__(self): return {'x': self.x}\n"
        "    def __setstate__(self, state): self.x, self.y = state['x'], 'made'\np = P()\np.x = 1\n"
        "q = P.__new__(P)\nq.__setstate__(p.__getstate__())",
        "(q.x, q.y, p.x, hasattr(p, '__dict__'))",
    ),
}

_DATA = "import dataclasses\nfrom dataclasses import dataclass, field\n"

DATACLASSES = {
    "dataclass with slots": (
        f"{_DATA}@dataclass(slots=True)\nclass P:\n    x: int\n    y: int = 2\n    tags: list = field(default_factory=list)\n"
        "p = P(1)",
        "(p, P(1) == p, hasattr(p, '__dict__'), P.__slots__, [f.name for f in dataclasses.fields(P)], P(5).tags)",
    ),
    "frozen, with slots": (
        f"{_DATA}@dataclass(frozen=True, slots=True, order=True)\nclass P:\n    x: int\n    y: str = 'y'\np, s = P(1), {{P(2)}}",
        "(p, P(2) in s, hash(p) == hash(P(1)), p < P(3), dataclasses.replace(p, x=7).x)",
    ),
    "frozen, without": (
        f"{_DATA}@dataclass(frozen=True)\nclass P:\n    x: int\np = P(1)",
        "(p, hash(p) == hash(P(1)))",
    ),
    "inherits slots": (
        f"{_DATA}@dataclass(slots=True)\nclass A:\n    a: int\n@dataclass(slots=True)\nclass B(A):\n    b: int = 3\n"
        "class C(B): pass\nb, c = B(1), C(1, 2)\nc.z = 5",
        "(b, c, c.z, hasattr(b, '__dict__'), B.__slots__, A.__slots__)",
    ),
    "with its super": (
        f"{_DATA}@dataclass\nclass A:\n    a: int\n    def f(self): return 1\n@dataclass\nclass B(A):\n    b: int = 2\n"
        "    def f(self): return super().f() + 1\nb = B(1)",
        "(b.f(), b)",
    ),
    "keywords only, a class variable": (
        f"{_DATA}from typing import ClassVar\n@dataclass(kw_only=True)\nclass P:\n    x: int\n    n: ClassVar[int] = 5\n"
        "    y: int = field(default=1, repr=False, metadata={'m': 1})\np = P(x=1)",
        "(p, P.n, dataclasses.fields(P)[1].metadata['m'], dataclasses.asdict(p), P.__match_args__)",
    ),
    "a missing default": (
        f"{_DATA}@dataclass\nclass P:\n    x: int\nf = dataclasses.fields(P)[0]",
        "dataclasses.fields(P)[0].default is dataclasses.MISSING",
    ),
}

HOOKS = {
    "keywords to __init_subclass__": (
        "calls = []\nclass Base:\n    kinds = {}\n    def __init_subclass__(cls, key, **more):\n        super().__init_subclass__(**more)\n"
        "        cls.key = key\n        Base.kinds[key] = cls\n        calls.append(key)\n"
        "class A(Base, key='a'): pass\nclass B(A, key='b'):\n    x = 1\na = B()",
        "(A.key, B.key, {k: v.__name__ for k, v in Base.kinds.items()}, Base.kinds['b'] is type(a), calls, a.x)",
    ),
    "a hook with a default": (
        "class Base:\n    seen = []\n    def __init_subclass__(cls, key=None):\n        Base.seen.append((cls.__name__, key))\n"
        "class A(Base, key='a'): pass\nclass B(Base): pass",
        "Base.seen",
    ),
    "a metaclass that wants arguments": (
        "class Meta(type):\n    made = []\n    def __new__(mcs, name, bases, ns, *, tag):\n"
        "        Meta.made.append(name)\n        return super().__new__(mcs, name, bases, {**ns, 'tag': tag})\n"
        "    def __init__(cls, name, bases, ns, *, tag): super().__init__(name, bases, ns)\n"
        "class A(metaclass=Meta, tag='t'):\n    x = 1\na = A()",
        "(A.tag, a.x, Meta.made, type(A) is Meta)",
    ),
    "a metaclass that looks at the body": (
        "class Meta(type):\n    def __new__(mcs, name, bases, ns):\n        if 'name' not in ns: raise TypeError('no name')\n"
        "        return super().__new__(mcs, name, bases, ns)\n    def __call__(cls, *args):\n"
        "        return super().__call__(*args)\nclass A(metaclass=Meta):\n    name = 'n'\n"
        "    def __init__(self, x): self.x = x\na = A(3)",
        "(A.name, a.x, A(4).x)",
    ),
    "one instance only": (
        "class Single(type):\n    made = {}\n    def __call__(cls, *args):\n        if cls not in Single.made:\n"
        "            Single.made[cls] = super().__call__(*args)\n        return Single.made[cls]\n"
        "class A(metaclass=Single):\n    def __init__(self): self.x = [1]\na = A()",
        "(A() is a, a.x, A().x is a.x)",
    ),
    "a metaclass that forbids": (
        "class Meta(type):\n    def __setattr__(cls, name, value): raise AttributeError('fixed')\n"
        "class A(metaclass=Meta):\n    x = 1\n    def f(self): return self.x",
        "(A.x, A().f())",
    ),
    "a metaclass with attributes": (
        "class Meta(type):\n    def __init__(cls, name, bases, ns):\n        super().__init__(name, bases, ns)\n"
        "        cls.registry = getattr(cls, 'registry', []) + [name]\n    def __len__(cls): return 7\n"
        "    @property\n    def kind(cls): return cls.__name__.lower()\n"
        "class A(metaclass=Meta): pass\nclass B(A): pass",
        "(A.registry, B.registry, len(A), B.kind)",
    ),
    "__set_name__": (
        "class Field:\n    names = []\n    def __set_name__(self, owner, name):\n        self.name = name\n        Field.names.append(name)\n"
        "    def __get__(self, it, kind=None): return self if it is None else it.__dict__.get(self.name, 'none')\n"
        "    def __set__(self, it, value): it.__dict__[self.name] = value * 2\n"
        "class A:\n    x = Field()\n    y = Field()\na = A()\na.x = 3",
        "(a.x, a.y, Field.names, A.x.name)",
    ),
    "fields of C": (
        "import ctypes\nclass P(ctypes.Structure):\n    _fields_ = [('x', ctypes.c_int), ('y', ctypes.c_double)]\n"
        "    def f(self): return self.x + 1\np = P(3, 0.5)",
        "(p.x, p.y, p.f(), P(4).x, ctypes.sizeof(P))",
    ),
    "hooks that work together": (
        "class M:\n    def __init_subclass__(cls, **k):\n        super().__init_subclass__(**k)\n        cls.m = 1\n"
        "class B:\n    def __init_subclass__(cls, key=None, **k):\n        super().__init_subclass__(**k)\n        cls.key = key\n"
        "class A(M, B, key=5): pass\na = A()",
        "(A.m, A.key, a.key)",
    ),
    "an abstract metaclass with keywords": (
        "import abc\nclass Meta(abc.ABCMeta):\n    def __new__(m, n, b, ns, *, tag, **k): return super().__new__(m, n, b, ns, **k)\n"
        "    def __init__(c, n, b, ns, *, tag, **k):\n        super().__init__(n, b, ns, **k)\n        c.tag = tag\n"
        "class A(metaclass=Meta, tag=1):\n    @abc.abstractmethod\n    def f(self): ...\n"
        "class B(A, tag=2):\n    def f(self): return 1\nb = B()",
        "(A.tag, B.tag, b.f(), sorted(A.__abstractmethods__), isinstance(b, A))",
    ),
    "a class decorator that registers": (
        "REGISTRY = {}\ndef register(name):\n    def wrap(cls):\n        REGISTRY[name] = cls\n        return cls\n    return wrap\n"
        "@register('a')\nclass A: pass\na = A()",
        "(REGISTRY['a'] is A, type(a) is REGISTRY['a'])",
    ),
}

INHERITANCE = {
    "an override equal to the base's": (
        "class A:\n    x = None\n    n = 1\n    def f(self): return 1\nclass B(A):\n    x = None\n    n = 1\n"
        "    def f(self): return 1\n    g = A.f\n    f2 = A.f\nA.x, A.n = 'changed', 2\nA.f = lambda self: 3",
        "(B.x, B.n, B().f(), B().g(), sorted(n for n in B.__dict__ if not n.startswith('__')))",
    ),
    "an override that is the base's": (
        "def shared(self): return 1\nclass A:\n    f = shared\nclass B(A):\n    f = shared\nA.f = lambda self: 2",
        "(B().f(), A().f(), 'f' in B.__dict__)",
    ),
    "several bases": (
        "class A:\n    def f(self): return 'A'\nclass B(A):\n    def f(self): return 'B' + super().f()\n"
        "class C(A):\n    def f(self): return 'C' + super().f()\nclass D(B, C):\n    def f(self): return 'D' + super().f()\nd = D()",
        "(d.f(), [k.__name__ for k in D.__mro__])",
    ),
    "nested classes": (
        "class Outer:\n    class Inner:\n        class Deep: pass\n        x = 1\n    def make(self): return self.Inner()\n"
        "o = Outer()\ni = o.make()",
        "(type(i) is Outer.Inner, Outer.Inner.__qualname__, Outer.Inner.Deep.__qualname__, i.x)",
    ),
    "a local class": (
        "def make(n):\n    class Local:\n        k = n\n        def f(self): return n\n    return Local\nL = make(3)\nl = L()",
        "(l.f(), l.k, L.__qualname__)",
    ),
    "attributes that are instances of the class": (
        "class V:\n    def __init__(self, x): self.x = x\n    def __eq__(self, o): return self.x == o.x\n"
        "    __hash__ = object.__hash__\nV.ZERO = V(0)\nV.all = [V.ZERO, V(1)]\nv = V.ZERO",
        "(V.ZERO.x, V.all[0] is V.ZERO, v is V.ZERO, isinstance(v, V))",
    ),
    "a subclass of dict": (
        "class D(dict):\n    def __init__(self, *, limit):\n        self.limit = limit\n"
        "    def __setitem__(self, k, v):\n        if len(self) >= self.limit: raise ValueError\n        super().__setitem__(k, v)\n"
        "d = D(limit=2)\nd['a'] = 1\nd['b'] = 2",
        "(dict(d), d.limit, type(d) is D)",
    ),
    "a subclass of list": (
        "class L(list):\n    def __init__(self, name, items): super().__init__(items); self.name = name\n"
        "    def append(self, x): raise TypeError\n    def extend(self, x): raise TypeError\nl = L('n', [1, 2])",
        "(list(l), l.name, isinstance(l, L))",
    ),
    "subclasses of other containers": (
        "import collections\nclass Dd(collections.defaultdict):\n    def __init__(self, f, n): super().__init__(f); self.n = n\n"
        "class Od(collections.OrderedDict):\n    def __init__(self, n): super().__init__(); self.n = n\n"
        "class Dq(collections.deque):\n    def __init__(self, n): super().__init__(maxlen=n); self.n = n\n"
        "class S(set):\n    def __init__(self, n): self.n = n\nclass Cn(collections.Counter):\n"
        "    def __init__(self, n): super().__init__('aab'); self.n = n\n"
        "dd, od, dq, s, cn = Dd(list, 1), Od(2), Dq(2), S(4), Cn(5)\ndd['k'].append(1)\nod['z'] = 1\nod['a'] = 2\ndq.extend('abc')\ns.add(9)",
        "(dict(dd), dd.n, dd['new'], list(od.items()), od.n, list(dq), dq.maxlen, dq.n, set(s), s.n, dict(cn), cn.n,"
        " [type(x).__name__ for x in (dd, od, dq, s, cn)])",
    ),
    "subclasses of atoms": (
        "class I(int):\n    def __new__(cls, v, unit):\n        it = super().__new__(cls, v)\n        it.unit = unit\n        return it\n"
        "    def __getnewargs__(self): return int(self), self.unit\n"
        "class St(str): pass\nclass T(tuple):\n    def __new__(cls, *a): return super().__new__(cls, a)\n"
        "    def __getnewargs__(self): return tuple(self)\n"
        "i, s, t = I(3, 'm'), St('x'), T(1, 2)\ns.a = 1",
        "(i + 1, i.unit, s, s.a, t, type(t).__name__)",
    ),
    "__new__ that wants arguments": (
        "class A:\n    def __new__(cls, x):\n        it = super().__new__(cls)\n        return it\n"
        "    def __init__(self, x): self.x = x\na = A(1)",
        "a.x",
    ),
}

PROXIES = {
    "answers everything": (
        "class Proxy:\n    def __init__(self, target): self._target = target\n"
        "    def __getattr__(self, name): return getattr(self._target, name)\np = Proxy([3, 1])\np.sort()",
        "(type(p) is Proxy, p._target, p.count(1), p.__len__())",
    ),
    "answers with itself": (
        "class Any_:\n    def __getattr__(self, name): return self\n    def __call__(self, *a): return self\na = Any_()",
        "(type(a) is Any_, a.x.y() is a)",
    ),
    "answers for its state": (
        "class P:\n    def __init__(self, it): self.__dict__['it'] = it\n    def __getattr__(self, n): return getattr(self.__dict__['it'], n)\n"
        "    def __setattr__(self, n, v): setattr(self.__dict__['it'], n, v)\np, q = P('abc'), P(P({1}))",
        "(type(p) is P, p.upper(), type(q.it) is P, q.union([2]))",
    ),
    "has a name of its own": (
        "class P:\n    def __init__(self, it): self._it = it\n    @property\n    def __name__(self): return 'its name'\n"
        "    @property\n    def __doc__(self): return 'its text'\n    def f(self): return __class__\np = P(1)",
        "(p.__name__, p.__doc__, P.__name__, p.f() is P)",
    ),
    "a descriptor of the metaclass": (
        "class M(type):\n    @property\n    def kind(cls): return 'of the class'\nclass A(metaclass=M):\n    kind = 'of an instance'\na = A()",
        "(A.kind, a.kind)",
    ),
    "looks at all names": (
        "class P:\n    def __init__(self, it): object.__setattr__(self, '_it', it)\n"
        "    def __getattribute__(self, n):\n        return getattr(object.__getattribute__(self, '_it'), n)\n"
        "p = P({'a': 1})",
        "(type(p) is P, list(p.keys()))",
    ),
    "claims another class": (
        "class P:\n    def __init__(self, it): self._it = it\n    @property\n    def __class__(self): return type(self._it)\n"
        "    def __getattr__(self, n): return getattr(self.__dict__['_it'], n)\np = P([1])",
        "(type(p) is P, isinstance(p, list), p.count(1))",
    ),
    "items as attributes": (
        "class D(dict):\n    __getattr__ = dict.__getitem__\n    __setattr__ = dict.__setitem__\n"
        "class E(dict):\n    __getattr__ = dict.get\nd, e = D(a=1), E(b=2)\nd.c = 3",
        "(d.a, d.c, dict(d), e.b, e.z, type(e) is E)",
    ),
    "is its own dict": (
        "class D(dict):\n    def __init__(self, *a, **k):\n        super().__init__(*a, **k)\n        self.__dict__ = self\nd = D(a=1)",
        "(d.a, d.__dict__ is d, (d.__setitem__('a', 2), d.a)[1], (setattr(d, 'q', 5), d['q'])[1])",
    ),
    "a default for what is missing": (
        "class C:\n    def __init__(self): self.known = {'x': 1}\n    def __getattr__(self, n):\n"
        "        try:\n            return self.known[n]\n        except KeyError: raise AttributeError(n) from None\nc = C()",
        "(c.x, hasattr(c, 'y'))",
    ),
}

DESCRIPTORS = {
    "properties": (
        "class A:\n    def __init__(self): self._x = 1\n    @property\n    def x(self):\n        'the x'\n        return self._x\n"
        "    @x.setter\n    def x(self, v): self._x = v * 2\n    @x.deleter\n    def x(self): self._x = None\n"
        "    @staticmethod\n    def s(v): return v\n    @classmethod\n    def c(cls): return cls.__name__\na = A()\na.x = 3",
        "(a.x, A.x.__doc__, A.s(1), A.c(), A().x)",
    ),
    "a subclass of property": (
        "class lazy(property):\n    def __init__(self, f, note='n'): super().__init__(f); self.note = note\n"
        "class A:\n    @lazy\n    def x(self): return 5\n    y = lazy(lambda self: 6, 'm')\na = A()",
        "(a.x, a.y, A.__dict__['y'].note, type(A.__dict__['x']) is lazy)",
    ),
    "cached properties": (
        "import functools\ncalls = []\nclass A:\n    @functools.cached_property\n    def x(self):\n        calls.append(1)\n        return [1]\n"
        "a, b = A(), A()\na.x",
        "('x' in a.__dict__, a.x is a.x, len(calls), b.x, len(calls))",
    ),
    "partial methods": (
        "import functools\nclass A:\n    def f(self, x, y): return (x, y)\n    g = functools.partialmethod(f, 1)\na = A()",
        "a.g(2)",
    ),
    "a slot with a descriptor beside": (
        "class A:\n    __slots__ = ('_x',)\n    @property\n    def x(self): return getattr(self, '_x', 0)\n"
        "    @x.setter\n    def x(self, v): self._x = v\na = A()\na.x = 4",
        "(a.x, A().x)",
    ),
    "operators": (
        "class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return V(self.x + o.x)\n    def __eq__(self, o): return self.x == o.x\n"
        "    def __hash__(self): return hash(self.x)\n    def __call__(self): return self.x\n    def __len__(self): return 3\n"
        "    def __contains__(self, i): return i == self.x\nv, s = V(1), {V(2), V(3)}",
        "((v + V(2)).x, v == V(1), v(), len(v), 1 in v, V(3) in s)",
    ),
}

GENERIC = {
    "functions by type": (
        "import functools\n@functools.singledispatch\ndef f(x):\n    'says'\n    return 'any'\n@f.register\ndef _(x: int): return 'int'\n"
        "class A: pass\n@f.register(A)\ndef _of_a(x): return 'A'\n@f.register(list)\n@f.register(tuple)\ndef g(x): return 'seq'\n"
        "f.note = 'n'\nused = f(3)\na = A()",
        "(f(1), f('s'), f(a), f([]), f(()), f(True), g([]), f.note, f.__name__, f.__doc__, len(f.registry), f.dispatch(int)(1), used)",
    ),
    "of an abstract type": (
        "import functools, collections.abc\n@functools.singledispatch\ndef f(x): return 'any'\n"
        "@f.register(collections.abc.Mapping)\ndef _m(x): return 'map'\nf({})",
        "(f({}), f(1))",
    ),
    "methods by type": (
        "import functools\nclass A:\n    @functools.singledispatchmethod\n    def f(self, x): return 'any'\n"
        "    @f.register\n    def _(self, x: int): return 'int'\n    @f.register\n    def _(self, x: str): return 'str'\na = A()\na.f(1)",
        "(a.f(1), a.f('x'), a.f(2.0))",
    ),
    "a new default": (
        "import functools\n@functools.singledispatch\ndef f(x): return 'any'\n@f.register(object)\ndef h(x): return 'new'",
        "(f(1), f.__wrapped__(1))",
    ),
}

CASES: dict[str, tuple[str, str]] = {
    **SLOTS,
    **DATACLASSES,
    **HOOKS,
    **INHERITANCE,
    **PROXIES,
    **ENUMS,
    **TYPING,
    **DESCRIPTORS,
    **GENERIC,
}
"""By name: a cell, and an expression over the names that the cell binds."""
