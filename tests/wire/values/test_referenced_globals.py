"""What a cell needs besides the names it reads."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import pytest

from modal_gpu_magic.wire.values.referenced_globals import MOST_VALUES, reach
from modal_gpu_magic.wire.values.remote import RemoteValue
from tests.wire.far_side import new_namespace

NOTEBOOK = """
import collections, dataclasses, functools, math, typing, torch
import numpy as np

scale = 3
unused = 5
data = [1]
limit = 10
default = 7
config = {"k": 1}
other = 1

def helper(x): return x * scale
def main(x): return helper(x) + math.pi
def local(): scale = 1; return scale
def attribute(x): return x.data.scale
def stores():
    global unused
    unused = 1
def deletes():
    global unused
    del unused
def nested():
    def inner():
        return [scale for _ in range(limit)]
    return inner
def recursive(n): return recursive(n - 1) if n else limit
def defaulted(f=helper, *, g=lambda: limit): return f
def closure():
    inner = helper
    return lambda: inner(1)
closed = closure()
def decorate(f):
    @functools.wraps(f)
    def wrapper(*a): return f(*a)
    return wrapper
@decorate
def decorated(): return limit
@functools.lru_cache
def cached(): return limit
def comprehension(): return {k: scale for k in config}
def formatted(): return f"{limit:{scale}}"
def tagged(): return 1
tagged.callback = lambda: limit

class Plain:
    size = limit
    def method(self): return scale
class Parent:
    def method(self): return limit
class Child(Parent): pass
class Members:
    @property
    def p(self): return scale
    @staticmethod
    def s(): return limit
    @classmethod
    def c(cls): return config
    @functools.cached_property
    def v(self): return other
class Meta(type):
    def method(cls): return limit
class WithMeta(metaclass=Meta): pass
class ClassBody:
    def method(self):
        class Inner:
            value = limit
        return Inner
@dataclasses.dataclass
class Point:
    x: int = 1
    def norm(self): return self.x * scale
class Slots:
    __slots__ = ("f", "g")
slots = Slots()
slots.f = helper
class Evil:
    @property
    def __dict__(self): raise RuntimeError
    def __getattribute__(self, name): raise RuntimeError(name)
    def __eq__(self, other): raise RuntimeError
    def __hash__(self): raise RuntimeError
    def __iter__(self): raise RuntimeError
    def __len__(self): raise RuntimeError
    def use(self): return limit
evil = Evil()
class Heir(Evil): pass
heir = Heir()
T = typing.TypeVar("T")
class EvilDict(dict):
    def values(self): raise RuntimeError
    def __iter__(self): raise RuntimeError
evil_dict = EvilDict(f=helper)

inst = Plain()
held = Point()
held.callback = helper
bound = inst.method
partial = functools.partial(helper, 5)
table = {"f": [helper, (1, Plain)]}
factory = collections.defaultdict(helper)
counted = collections.deque([helper])
module = torch.nn.Module()
module.hook = helper
array = np.zeros(3)
cyclic = []
cyclic.append(cyclic)
numbers = list(range(1_000_000))
"""

CASES = [
    ("scale", "scale"),
    ("missing", ""),
    ("helper", "helper scale"),
    ("main", "main helper scale math"),
    ("local", "local"),
    ("attribute", "attribute"),
    ("stores", "stores"),
    ("deletes", "deletes unused"),
    ("nested", "nested scale limit"),
    ("recursive", "recursive limit"),
    ("defaulted", "defaulted scale limit"),
    ("closed", "closed scale"),
    ("decorated", "decorated limit"),
    ("cached", "cached limit"),
    ("comprehension", "comprehension scale config"),
    ("formatted", "formatted limit scale"),
    ("tagged", "tagged limit"),
    ("Plain", "Plain scale"),
    ("Child", "Child limit"),
    ("Members", "Members scale limit config other"),
    ("WithMeta", "WithMeta limit"),
    ("ClassBody", "ClassBody limit"),
    ("Point", "Point scale"),
    ("slots", "slots scale"),
    ("evil", "evil limit"),
    ("heir T", "heir limit T"),
    ("evil_dict", "evil_dict scale"),
    ("inst", "inst scale"),
    ("held", "held scale"),
    ("bound", "bound scale"),
    ("partial", "partial scale"),
    ("table", "table scale"),
    ("factory", "factory scale"),
    ("counted", "counted scale"),
    ("module", "module scale"),
    ("array numbers cyclic", "array numbers cyclic"),
    ("main inst data", "main helper scale math inst data"),
]


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    notebook = new_namespace()
    exec(NOTEBOOK, notebook)
    return notebook


@pytest.mark.parametrize(("names", "reached"), CASES)
def test_reach(namespace: dict[str, Any], names: str, reached: str) -> None:
    assert reach(names.split(), namespace) == set(reached.split())


def test_functions_of_libraries_use_nothing_of_ours(namespace: dict[str, Any]) -> None:
    import json

    assert reach(["f"], {**namespace, "f": json.dumps, "_default_encoder": 1}) == {"f"}


def test_a_partial_stays_as_it_was() -> None:
    """Reading its `__dict__` makes one, and Python joins a partial without one with the next."""
    part = functools.partial(max, 1)
    reach(["part"], {"part": part})
    assert functools.partial(part, 2).func is max


def test_a_remote_value_is_not_looked_into() -> None:
    assert reach(["r"], {"r": RemoteValue("r", "s", "list")}) == {"r"}


def test_a_large_structure_does_not_take_long(namespace: dict[str, Any]) -> None:
    rows = [{"a": [1], "b": "x"} for _ in range(300_000)]
    namespace["rows"] = rows
    for names in (["rows", "main"], ["main", "rows"]):
        reached, calls = counted(functools.partial(reach, names, namespace))
        assert reached == {"rows", "main", "helper", "scale", "math"}
        # The list's own items are counted, and what a part of them refers to.
        assert MOST_VALUES < calls < 2 * len(rows)


def counted(act: Callable[[], Any]) -> tuple[Any, int]:
    """What `act` returns, and how many calls of Python functions it took, resumed generators included."""
    calls = 0

    def count(_frame: object, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        return act(), calls
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("asked", ["Model", "make", "[Model]", "Model()"])
def test_annotations_that_are_text_are_looked_up_by_libraries(asked: str) -> None:
    """`typing.get_type_hints` and pydantic evaluate them in the namespace."""
    source = """from __future__ import annotations
import typing
class Part: pass
class Other: pass
class Model:
    part: Part | None = None
    def method(self, x: "Part") -> typing.List[Other]: ...
def make(part: Part, others: list[Other]) -> Model: ...
"""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec", dont_inherit=True), namespace)
    namespace["value"] = eval(asked, namespace)
    assert {"Part", "Other"} <= reach({"value"}, namespace)
