"""Alarms: each function is called at its time, in order, unless it was cancelled."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.alarms import Alarms

NEVER = 1e9
"""Seconds that no test waits for."""


class Threads:
    """Starts the threads of alarms, and counts them."""

    def __init__(self) -> None:
        self.started: list[threading.Thread] = []

    def __call__(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.started.append(thread)
        return thread


def test_an_earlier_alarm_goes_first_whichever_was_set_first() -> None:
    threads, rang = Threads(), threading.Semaphore(0)
    alarms, order = Alarms(threads), []

    def ring(name: str) -> None:
        order.append(name)
        rang.release()

    alarms.set(NEVER, lambda: ring("never"))
    alarms.set(0.2, lambda: ring("second"))
    alarms.set(0.0, lambda: ring("first"))
    assert rang.acquire(timeout=60)
    assert rang.acquire(timeout=60)
    assert order == ["first", "second"]
    assert len(threads.started) == 1


def test_a_cancelled_alarm_is_silent_and_those_after_it_are_not() -> None:
    alarms, rang, wrong = Alarms(Threads()), threading.Event(), []
    alarms.cancel(alarms.set(0.1, lambda: wrong.append("cancelled")))
    alarms.set(0.2, rang.set)
    assert rang.wait(60)
    assert wrong == []
    again = threading.Event()
    alarms.set(0.0, again.set)
    assert again.wait(60)


def test_an_alarm_after_one_that_failed_starts_the_thread_again() -> None:
    threads, rang = Threads(), threading.Event()
    alarms = Alarms(threads)
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        alarms.set(0.0, lambda: 1 / 0)
        threads.started[0].join(60)
    finally:
        threading.excepthook = hook
    alarms.set(0.0, rang.set)
    assert rang.wait(60)
    assert len(threads.started) == 2


def test_an_alarm_is_due_once_its_time_was_waited_for_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell may stop the clock of its process."""
    rang, alarms = threading.Event(), Alarms(Threads())
    alarms.set(0.3, rang.set)
    now = time.monotonic()
    monkeypatch.setattr("modal_gpu_magic.alarms.monotonic", lambda: now)
    assert rang.wait(60)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from((0.0, 0.01, 0.03, NEVER)), st.booleans()), min_size=1, max_size=12))
def test_each_alarm_rings_once_unless_it_was_cancelled_or_its_time_has_not_come(
    steps: list[tuple[float, bool]],
) -> None:
    alarms, counts = Alarms(Threads()), Counter[int]()
    rang = [threading.Event() for _ in steps]

    def ring(number: int) -> None:
        counts[number] += 1
        rang[number].set()

    for number, (seconds, is_cancelled) in enumerate(steps):
        alarm = alarms.set(seconds, partial(ring, number))
        if is_cancelled:
            alarms.cancel(alarm)
    awaited = {number for number, (seconds, is_cancelled) in enumerate(steps) if seconds < NEVER and not is_cancelled}
    assert all(rang[number].wait(60) for number in awaited)
    assert all(count == 1 for count in counts.values())
    assert not any(rang[number].is_set() for number, (seconds, _) in enumerate(steps) if seconds == NEVER)
