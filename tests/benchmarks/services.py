"""Figures of services: calls a second, one by one and in batches, beside the class that one writes by hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import modal

from modal_gpu_magic import Service, batched
from modal_gpu_magic.sdk.client import connect
from tests.benchmarks.table import Row, ratio

LIMIT, AIM = 1.11, 1.0
"""Of the time a call takes: nine tenths of the calls a second that hand-written code gets."""
MANY = 1024


def same(x: int) -> int:
    """A plain function that does nothing."""
    return x


@batched(32, wait_ms=20)
def all_same(xs: list[int]) -> list[int]:
    """A batched one."""
    return xs


class Plain:
    """The hand-written class of the plain function."""

    @modal.enter()
    def start(self) -> None:
        """Nothing."""

    @modal.method()
    def same(self, x: int) -> int:
        """Nothing."""
        return x


class Batched:
    """The hand-written class of the batched one."""

    @modal.enter()
    def start(self) -> None:
        """Nothing."""

    @modal.batched(max_batch_size=32, wait_ms=20)
    def all_same(self, xs: list[int]) -> list[int]:
        """Nothing."""
        return xs


def services() -> Iterator[Row]:
    """Seconds a call, ours and by hand alternately, so that whatever else the machine does falls on both."""
    app = modal.App()
    by_hand: Any = app.cls(serialized=True, max_containers=1)(Plain)
    in_batches: Any = app.cls(serialized=True, max_containers=1)(Batched)
    ours, ours_batched = (
        Service([function], name=function.__name__, max_containers=1) for function in (same, all_same)
    )
    with app.run(client=connect("local").client), ours, ours_batched:
        plain, gathered = by_hand(), in_batches()
        call = _medians(lambda: ours.same(1), lambda: plain.same.remote(1), rounds=300)
        yield ratio("a service's call", call[0], ("hand-written class, `.remote()`", call[1]), LIMIT, AIM)
        numbers = range(MANY)
        mapped = _medians(
            lambda: list(ours_batched.all_same.map(numbers)), lambda: list(gathered.all_same.map(numbers)), rounds=10
        )
        one, other = (seconds / MANY for seconds in mapped)
        yield ratio("a call of a map, in batches", one, ("hand-written class, `.map()`", other), LIMIT, AIM)


def _medians(*runs: Callable[[], object], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds + max(1, rounds // 10)):
        for run, kept in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            kept.append(time.perf_counter() - began)
    return [statistics.median(kept[-rounds:]) for kept in times]


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (services,)
