"""Classes of the notebook and their instances: one class on both sides, its state kept."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "a class attribute counts": """
N>
class C:
    made = 0
    def __init__(self): C.made += 1
c = C()
R> d = C()
N> e = C(); print(C.made)
R> print(C.made, isinstance(c, C), type(c) is type(d) is type(e) is C)
N> print(type(c) is type(d) is type(e) is C)
""",
    "a list as class attribute": """
N>
class C:
    all = []
    def __init__(self, n): self.n = n; C.all.append(self)
a = C(1)
R> b = C(2)
N> print([c.n for c in C.all], C.all[0] is a, C.all[1] is b)
R> print([c.n for c in C.all], C.all[0] is a, C.all[1] is b)
""",
    "an attribute set on the class there": """
N>
class C: pass
c = C()
R> C.color = "red"
N> print(c.color)
R> C.say = lambda self: self.color.upper()
N> print(c.say()); C.color = "blue"
R> print(c.say())
""",
    "a class defined anew here": """
N>
class C:
    def hi(self): return "old"
old = C()
R> print(old.hi())
N>
class C:
    def hi(self): return "new"
new = C()
R> print(old.hi(), new.hi(), isinstance(old, C), isinstance(new, C))
N> print(isinstance(old, C), isinstance(new, C))
""",
    "a class defined anew there": """
N>
class C: v = 1
old = C()
R>
class C: v = 2
new = C()
N> print(old.v, new.v, isinstance(old, C), isinstance(new, C))
R> print(type(old) is type(new))
""",
    "slots": """
N>
class P:
    __slots__ = ("x", "y")
    def __init__(self, x, y): self.x, self.y = x, y
p = P(1, 2)
R> p.x = 5; print(p.x, p.y, P.__slots__)
R>
try: p.z = 1
except AttributeError as e: print("AttributeError")
N> print(p.x, hasattr(p, "__dict__"))
N>
try: p.z = 1
except AttributeError as e: print("AttributeError")
""",
    "slots made there": """
R>
class P:
    __slots__ = ["x"]
p = P(); p.x = [1]
N> print(p.x, hasattr(p, "__dict__"), P.__slots__); p.x.append(2)
R> print(p.x)
""",
    "a dataclass with slots": """
N>
from dataclasses import dataclass, field, asdict
@dataclass(slots=True)
class D:
    a: int
    b: list = field(default_factory=list)
d = D(1); b = d.b
R> d.b.append(2); d.a = 7; print(d)
N> print(d, hasattr(d, "__dict__"), asdict(d), d.b is b)
R> print(d == D(7, [2]), b)
""",
    "a frozen dataclass with slots": """
N>
from dataclasses import dataclass, replace
@dataclass(frozen=True, slots=True)
class D:
    a: int = 1
d = D(2); seen = {d: "x"}
R> print(seen[D(2)], hash(d) == hash(D(2))); e = replace(d, a=3)
N> print(e, seen[D(2)], type(e) is D)
""",
    "slots and inheritance": """
N>
class A:
    __slots__ = ("a",)
class B(A):
    __slots__ = ("b",)
x = B(); x.a, x.b = 1, [2]
R> x.b.append(3)
N> print(x.a, x.b, hasattr(x, "__dict__"), issubclass(B, A))
R> print(x.a, x.b, isinstance(x, A))
""",
    "a keyword for __init_subclass__": """
N>
class Base:
    kinds = {}
    def __init_subclass__(cls, kind=None, **more):
        super().__init_subclass__(**more)
        if kind: Base.kinds[kind] = cls
        cls.kind = kind
class One(Base, kind="one"): pass
one = One()
R> print(one.kind, sorted(Base.kinds), Base.kinds["one"] is One)
R>
class Two(Base, kind="two"): pass
N> print(sorted(Base.kinds), Base.kinds["two"] is Two, Two().kind)
""",
    "a metaclass with a registry": """
N>
class Meta(type):
    names = []
    def __new__(mcs, name, bases, space):
        cls = super().__new__(mcs, name, bases, space)
        Meta.names.append(name)
        return cls
class A(metaclass=Meta): pass
a = A()
R> print(Meta.names, type(A) is Meta)
R>
class B(A): pass
N> print(Meta.names, type(B) is Meta)
""",
    "an override equal to the base's": """
N>
class A:
    def f(self): return 1
    limit = 5
class B(A):
    f = A.f
    limit = 5
b = B()
R> print("f" in vars(B), "limit" in vars(B), b.f())
N> A.limit = 9
R> print(b.limit, B.limit)
""",
    "single dispatch": """
N>
from functools import singledispatch
class A: pass
@singledispatch
def show(x): return "any"
@show.register
def _(x: int): return "int"
show.register(A, lambda x: "A")
R> print(show(1), show("s"), show(A()))
R> show.register(list, lambda x: "list")
N> print(show([]), show(2), show(A()))
""",
    "a property, a static and a class method": """
N>
class C:
    def __init__(self, r): self.r = r
    @property
    def d(self): return self.r * 2
    @d.setter
    def d(self, v): self.r = v / 2
    @staticmethod
    def s(): return "s"
    @classmethod
    def of(cls, r): return cls(r)
c = C(1)
R> c.d = 10; e = C.of(3); print(c.r, e.d, C.s())
N> print(c.r, e.d, type(e) is C)
""",
    "super without arguments": """
N>
class A:
    def f(self): return ["A"]
class B(A):
    def f(self): return super().f() + ["B"]
R>
class C(B):
    def f(self): return super().f() + ["C"]
print(C().f(), C.__mro__[1] is B)
N> print(C().f(), C.__mro__[1] is B, [k.__name__ for k in C.__mro__])
""",
    "an enum": """
N>
from enum import Enum
class Color(Enum):
    RED = 1
    BLUE = 2
x = Color.RED; by = {Color.BLUE: 1}
R> print(x is Color.RED, by[Color.BLUE], Color(2) is Color.BLUE); y = Color.BLUE
N> print(y is Color.BLUE, x is Color.RED, by[y])
""",
    "a named tuple and a typed dict": """
N>
from typing import NamedTuple, TypedDict
class P(NamedTuple):
    x: int
    tags: list
class T(TypedDict):
    a: int
tags = []; p = P(1, tags); t = T(a=1)
R> p.tags.append("n"); t["a"] += 1; q = p._replace(x=2)
N> print(p, q, tags, q.tags is tags, type(q) is P, t)
""",
    "an abstract class": """
N>
from abc import ABC, abstractmethod
class Shape(ABC):
    @abstractmethod
    def area(self): ...
R>
class Sq(Shape):
    def area(self): return 4
try: Shape()
except TypeError: print("abstract")
s = Sq()
N> print(s.area(), isinstance(s, Shape), isinstance(s, Sq))
""",
    "a generic class": """
N>
from typing import Generic, TypeVar
T = TypeVar("T")
class Box(Generic[T]):
    def __init__(self, v: T): self.v = v
b = Box[int](1)
R> b.v += 1; c = Box("x"); print(type(b) is Box, Box[int].__args__)
N> print(b.v, c.v, type(c) is Box, Box.__parameters__[0] is T)
""",
    "equality and hashing of one's own": """
N>
class K:
    def __init__(self, n): self.n = n
    def __eq__(self, other): return self.n == other.n
    def __hash__(self): return hash(self.n)
d = {K(1): "one"}; k = K(2)
R> d[k] = "two"; print(d[K(1)])
N> print(d[K(2)], len(d), K(1) in d, [x is k for x in d])
""",
    "a subclass of list and of dict with attributes": """
N>
class L(list): pass
class D(dict): pass
l = L([1]); l.tag = "t"; d = D(a=l); d.tag = l
R> l.append(2); l.tag = "u"; d["b"] = l
N> print(l, l.tag, d, d.tag is l, type(l) is L, d["b"] is l)
R> print(d.tag is d["a"] is l, type(d) is D)
""",
    "a context manager and its state": """
N>
class Timer:
    def __enter__(self): self.on = True; return self
    def __exit__(self, *a): self.on = False
t = Timer()
R>
with t as same: print(same is t, t.on)
N> print(t.on)
N>
with t:
    print(t.on)
R> print(t.on)
""",
    "a weak reference": """
REFUSED: cache
N>
import weakref
class C: pass
c = C(); cache = weakref.WeakValueDictionary(); cache["c"] = c
R> print(cache["c"] is c); c.x = 1
N> print(cache["c"] is c, cache["c"].x)
""",
}
