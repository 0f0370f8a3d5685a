"""Writing a value into the object that is here."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
import torch

from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.pickles.update_in_place import absorb, can_be_written, take_class

PAIRS: list[tuple[Any, Any]] = [
    ([1, 2], [3]),
    ([], [[1]]),
    ({"a": 1}, {"b": 2, "a": 0}),
    ({1, 2}, {3}),
    (deque([1]), deque([2, 3])),
    (deque([1], 3), deque([2, 3], 3)),
    (OrderedDict(a=1), OrderedDict(b=1, a=2)),
    (Counter("aab"), Counter("b")),
    (bytearray(b"ab"), bytearray(b"xyz")),
    (np.zeros(3), np.arange(3.0)),
    (np.zeros((3, 4)).T, np.arange(12.0).reshape(4, 3)),
    (np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]), np.ones(2, dtype=[("a", "i4"), ("b", "f8")])),
    (np.array(1), np.array(2)),
    (np.zeros(2, "M8[s]"), np.ones(2, "M8[s]")),
    (torch.zeros(3), torch.ones(3)),
    (torch.zeros(3, 4).T, torch.ones(4, 3)),
    (torch.zeros(3, requires_grad=True), torch.ones(3)),
    (torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.ones(3), requires_grad=False)),
    (torch.zeros(3, dtype=torch.int8), torch.ones(3, dtype=torch.int8)),
]


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=lambda value: type(value).__name__)
def test_the_object_is_the_same_and_the_content_new(old: Any, new: Any) -> None:
    assert can_be_written(old) == can_be_written(new) == (not isinstance(old, deque) or old.maxlen is None)
    assert absorb(old, new)
    if isinstance(old, torch.Tensor):
        assert torch.equal(old, new)
        assert old.requires_grad == new.requires_grad
    elif isinstance(old, np.ndarray):
        np.testing.assert_array_equal(old, new)
    else:
        assert old == new
        assert list(old) == list(new)


OTHERS: list[tuple[Any, Any]] = [
    ([1], (1,)),
    ({}, OrderedDict()),
    (1, 2),
    ("a", "b"),
    (deque([1], 2), deque([1], 3)),
    (np.zeros(3), np.zeros(4)),
    (np.zeros(3), np.zeros(3, "f4")),
    (np.frombuffer(bytes(24)), np.ones(3)),
    (np.zeros(3), np.ma.zeros(3)),
    (torch.zeros(3), torch.nn.Parameter(torch.zeros(3))),
    (torch.zeros(3), torch.zeros(3, device="meta")),
    (torch.ones(3, requires_grad=True) * 2, torch.ones(3)),
    (torch.eye(3).to_sparse(), torch.eye(3).to_sparse()),
]


@pytest.mark.parametrize(("old", "new"), OTHERS, ids=lambda value: type(value).__name__)
def test_what_does_not_fit_is_left_alone(old: Any, new: Any) -> None:
    before = repr(old)
    assert not absorb(old, new)
    assert repr(old) == before


def test_aliases_see_the_change() -> None:
    here = np.zeros(10)
    view, held = here[2:5], {"x": here}
    assert absorb(here, np.arange(10.0))
    assert view.tolist() == [2, 3, 4]
    assert held["x"][9] == 9


def test_a_gradient_comes_along() -> None:
    old, new = torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    new.grad = torch.full((2,), 5.0)
    assert absorb(old, new)
    assert old.grad is not None
    assert old.grad.tolist() == [5, 5]


def test_a_default_dict_takes_the_factory() -> None:
    old: defaultdict[str, Any] = defaultdict(list)
    assert absorb(old, defaultdict(set, a=1))
    assert old["new"] == set()
    assert old["a"] == 1


def test_a_bytearray_that_somebody_looks_at_keeps_its_length() -> None:
    here = bytearray(b"ab")
    with memoryview(here):
        assert not absorb(here, bytearray(b"abc"))
        assert absorb(here, bytearray(b"xy"))
    assert here == b"xy"


def test_itself() -> None:
    same = [1, 2]
    assert absorb(same, same)
    assert same == [1, 2]


class Losing(IdentityTable):
    """A table whose objects end while it is read, as another thread of the process may let them end."""

    held: list[Any]

    def find(self, token: int) -> Any:
        """Let go of all objects, and return that of a token."""
        self.held.clear()
        return super().find(token)


def test_arrays_may_end_while_the_table_lists_them() -> None:
    table = Losing(side=0)
    table.held = [np.zeros(1 << 20) for _ in range(8)]
    for number, array in enumerate(table.held):
        table.bind(number + 1, array)
    del array
    assert table.arrays() == []


class Open:
    """A class written in Python, as its derived class is."""


class Closed(Open):
    """Another class of the same layout."""


class Slotted:
    """A class of another layout."""

    __slots__ = ("a",)


class Printed(io.StringIO):
    """A stream of one side."""


class Captured(io.StringIO):
    """A stream of the other side."""


@pytest.mark.parametrize(
    "value, kind, taken",
    [
        (Open(), Closed, True),
        (Open(), Slotted, False),
        (Open(), dict, False),
        (None, Open, False),
        (Printed(), Captured, False),
    ],
)
def test_an_object_takes_a_class_of_its_layout(value: Any, kind: type, taken: bool) -> None:
    before = type(value)
    take_class(value, kind)
    assert type(value) is (kind if taken else before)
