"""Classes and instances of a notebook between two processes: what natively holds of them holds on either side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.pickles.reducers import reducers
from tests.wire.far_side import FarSide, new_namespace
from tests.wire.kinds_of_classes import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = {"__name__", "__builtins__"}


def made(source: str) -> dict[str, Any]:
    """The namespace of a notebook that has run a cell."""
    namespace = new_namespace()
    exec(compile(source, "<cell>", "exec", dont_inherit=True), namespace)
    return namespace


@pytest.fixture(scope="module")
def far() -> Iterator[FarSide]:
    with FarSide({}) as side:
        yield side


def names_of(namespace: dict[str, Any]) -> list[str]:
    return [name for name in namespace if name not in OWN]


@pytest.mark.parametrize("name", CASES)
def test_holds_there(far: FarSide, name: str) -> None:
    source, expression = CASES[name]
    native = repr(eval(expression, made(source)))
    far.namespace = near = made(source)
    assert far.send(*names_of(near)) == {}
    assert far.run(f"repr({expression})") == native


@pytest.mark.parametrize("name", CASES)
def test_holds_here_when_made_there(far: FarSide, name: str) -> None:
    source, expression = CASES[name]
    native = made(source)
    names = names_of(native)
    far.run(f"{source}\n0")
    far.namespace = near = new_namespace()
    arrived = far.bring(*names)
    assert arrived.failed == {}
    assert repr(eval(expression, near)) == repr(eval(expression, native))


@pytest.mark.parametrize("name", CASES)
def test_holds_after_going_there_and_back(far: FarSide, name: str) -> None:
    source, expression = CASES[name]
    native = repr(eval(expression, made(source)))
    far.namespace = near = made(source)
    before = {each: near[each] for each in names_of(near)}
    assert far.send(*before) == {}
    assert far.bring(*before).failed == {}
    assert repr(eval(expression, near)) == native
    assert all(near[each] is value for each, value in before.items() if isinstance(value, type))


@pytest.mark.parametrize("name", CASES)
def test_fingerprints_hold(name: str) -> None:
    near = made(CASES[name][0])
    for each in names_of(near):
        assert fingerprint(near[each], near) == fingerprint(near[each], near) is not None


def test_an_attribute_that_is_deleted_is_gone_there(far: FarSide) -> None:
    far.namespace = near = made(
        "class A:\n    x = 1\n    def f(self): return 1\n    __slots__ = ('s', '__dict__')\na = A()"
    )
    far.send("A", "a")
    assert far.run("hasattr(A, 'x') and hasattr(a, 'f')")
    del near["A"].x, near["A"].f
    near["A"].y = 2
    far.send("A")
    assert far.run("(hasattr(A, 'x'), hasattr(a, 'f'), a.y, hasattr(A, 's'), a.__dict__)") == (
        False,
        False,
        2,
        True,
        {},
    )
    far.run("del A.y\n0")
    far.bring("A")
    assert not hasattr(near["A"], "y")
    near["a"].s = 1
    assert near["a"].s == 1


def test_a_hook_runs_natively_for_a_class_that_is_defined_there(far: FarSide) -> None:
    source = """
class Base:
    kinds = {}
    def __init_subclass__(cls, key, **more):
        super().__init_subclass__(**more)
        Base.kinds[key] = cls

class A(Base, key="a"):
    pass
"""
    far.namespace = near = made(source)
    far.send("Base", "A")
    far.run("class B(Base, key='b'): pass\n0")
    assert far.run("sorted(Base.kinds)") == ["a", "b"]
    far.bring("B", "Base")
    assert near["Base"].kinds == {"a": near["A"], "b": near["B"]}
    exec("class C(Base, key='c'): pass", near)
    assert near["Base"].kinds["c"] is near["C"]


def test_members_are_the_same_objects_over_many_crossings(far: FarSide) -> None:
    source = """
import enum
class Color(enum.Enum):
    RED = 1
    GREEN = 2
class Perm(enum.Flag):
    R = 1
    W = 2
    X = 4
red, both, table = Color.RED, Perm.R | Perm.W, {Color.GREEN: 1}
"""
    far.namespace = near = made(source)
    red, both = near["red"], near["both"]
    for _ in range(3):
        far.send("red", "both", "table", "Color", "Perm")
        assert far.run("(red is Color.RED, both is (Perm.R | Perm.W), table[Color.GREEN], Color(1) is red)") == (
            (True, True, 1, True)
        )
        far.bring("red", "both", "table", "Color", "Perm")
        assert near["red"] is red is near["Color"].RED
        assert near["both"] is both is near["Perm"].R | near["Perm"].W
        assert near["table"][near["Color"].GREEN] == 1


def test_the_rules_say_whether_a_type_has_a_reducer() -> None:
    table = reducers()
    for _ in range(2):  # a type that was looked up is in the table
        assert (type(test_members_are_the_same_objects_over_many_crossings) in table, FarSide in table) == (True, False)
        assert table.get(FarSide) is None
