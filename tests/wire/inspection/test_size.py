"""How many bytes a value is said to take, beside how many a transfer of it takes."""

from __future__ import annotations

import collections
import gc
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.size import nbytes_of
from modal_gpu_magic.wire.pickles.counting import OBJECTS_A_CHECK, Counter
from modal_gpu_magic.wire.transfer import pack
from tests.wire.far_side import new_namespace
from tests.wire.kinds_of_sizes import KINDS, NODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FACTOR = 1.5
MOST_COUNTS = 2_000
"""Values that an estimate may try to count; each costs some 0.1 ms."""
MOST_OBJECTS = 40_000
"""Objects that an estimate may pickle: 0.2 s of CPU time."""


class Clock:
    """The CPU time that an estimate reads, so that none depends on the machine; `looks` counts the readings."""

    def __init__(self, seconds_a_look: float = 0.0) -> None:
        self.looks, self._seconds_a_look = 0, seconds_a_look

    def __call__(self) -> float:
        self.looks += 1
        return self.looks * self._seconds_a_look


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands still: only the number of objects limits an estimate."""
    clock = Clock()
    monkeypatch.setattr(time, "thread_time", clock)
    return clock


def true_size(value: Any, namespace: dict[str, Any] | None = None) -> int:
    return pack({"v": value}, {} if namespace is None else namespace, InlineStore()).nbytes


@pytest.mark.parametrize("name", KINDS)
def test_within_a_factor_of_the_transfer(name: str) -> None:
    value = KINDS[name]()
    travels, said = true_size(value), nbytes_of(value)
    assert travels / FACTOR - 300 <= said <= travels * FACTOR + 300, said / travels


def nodes() -> dict[str, Any]:
    namespace = new_namespace()
    exec(compile(NODES, "<cell>", "exec", dont_inherit=True), namespace)
    return namespace


@pytest.mark.parametrize("name", ["nodes", "closures", "slotted", "methods", "tree"])
def test_many_small_objects(name: str, clock: Clock) -> None:
    namespace = nodes()
    travels = true_size(namespace[name], namespace)
    clock.looks = 0
    said = nbytes_of(namespace[name])
    assert travels / FACTOR <= said <= travels * FACTOR, said / travels
    assert 0 < clock.looks * OBJECTS_A_CHECK < MOST_OBJECTS


@pytest.mark.parametrize("name", ["nodes", "slotted", "methods"])
def test_a_slow_machine_counts_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, said = nodes()[name], []
    for seconds_a_look in (0.0002, 0.004):  # 200 objects at a time: 1 and 20 microseconds an object
        monkeypatch.setattr(time, "thread_time", Clock(seconds_a_look))
        said.append(nbytes_of(value))
    assert said[0] == said[1]


numbers = itertools.count()
"""No two arrays have one content: equal buffers cross once."""
ATOMS = st.integers(-1000, 1000) | st.floats() | st.text(max_size=20) | st.booleans() | st.none()
LEAVES = ATOMS | st.integers(0, 40_000).map(lambda count: np.full(count, next(numbers), dtype=float))


def shared(draw_from: list[Any]) -> Any:
    """Containers that may refer to an object more than once."""
    return st.lists(st.sampled_from(draw_from), max_size=300)


@settings(deadline=None, max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
@given(st.data())
def test_property(data: st.DataObject) -> None:
    leaves = data.draw(st.lists(LEAVES, min_size=1, max_size=8))
    groups: list[Any] = list(leaves)
    for _ in range(data.draw(st.integers(1, 6))):
        many = data.draw(shared(groups))
        make: Any = data.draw(st.sampled_from([list, tuple, lambda it: dict(enumerate(it)), collections.deque]))
        groups.append(make(many))
    value = groups[-1]
    travels = true_size(value)
    if travels > 100_000:
        assert travels / FACTOR <= nbytes_of(value) <= travels * FACTOR


HUGE: dict[str, Callable[[], tuple[Any, float]]] = {
    "rows": lambda: ([[[n] * 50 for _ in range(50)] for n in range(3_000)], 3_000 * 50 * 155),
    "numbers": lambda: (list(range(10_000_000)), 50_000_000),
    "one array, many times": lambda: ([[BIG, n] for n in range(1_000_000)], 8_000_000 + 1_000_000 * 12),
    "texts": lambda: ({f"{n:08d}": n for n in range(2_000_000)}, 2_000_000 * 16),
}

BIG: Any = np.arange(1_000_000.0)


@pytest.fixture
def _uncollected() -> Iterator[None]:
    """To make millions of objects, Python would look through all that there are again and again."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("name", HUGE)
def test_what_takes_too_long_to_count_is_sampled(name: str, clock: Clock) -> None:
    value, travels = HUGE[name]()
    said = nbytes_of(value)
    assert 0 < clock.looks * OBJECTS_A_CHECK < MOST_OBJECTS
    assert travels / FACTOR <= said <= travels * FACTOR, said / travels


class Broken:
    """Raises whatever is asked."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ValueError(protocol)


class Holder:
    """Holds what cannot travel beside what can."""

    def __init__(self) -> None:
        self.lock, self.numbers, self.more = threading.Lock(), BIG, {"again": [BIG, threading.Lock()]}


def test_what_cannot_travel_is_measured_without_it() -> None:
    assert 8_000_000 <= nbytes_of(Holder()) <= 17_000_000
    assert 8_000_000 <= nbytes_of([threading.Lock(), BIG]) <= 8_001_000
    assert nbytes_of(Broken()) < 100
    assert nbytes_of(threading.Lock()) < 100
    assert nbytes_of(number for number in [1]) < 1_000


def test_many_values_that_cannot_travel_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of 500 threads took 3 s, six times in a cell."""
    counted, count = itertools.count(), Counter.count

    def counts(self: Counter, value: Any) -> int:
        next(counted)
        return count(self, value)

    monkeypatch.setattr(Counter, "count", counts)
    said = nbytes_of([Holder() for _ in range(500)])
    assert 500 * 30 <= said <= 17_000_000 * 500
    assert next(counted) < MOST_COUNTS


def test_numbers_are_not_read() -> None:
    assert nbytes_of(torch.empty(10**7, 10**5, device="meta")) == 0
    assert nbytes_of({"m": torch.nn.Linear(10**5, 10**5, device="meta")}) < 5_000
    assert nbytes_of(np.broadcast_to(np.ones(1), (10**10,))) == 8
    assert nbytes_of([torch.zeros(1).expand(10**10)]) < 1_000
    assert nbytes_of(pd.DataFrame({"a": np.zeros(10**6)})) < 8_100_000
