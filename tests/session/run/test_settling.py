"""Runs that are settled late, and the runs that a saved state is compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from modal_gpu_magic.session.run import settling
from modal_gpu_magic.session.run.front import SilentFront
from modal_gpu_magic.session.run.interrupts import Inbox
from modal_gpu_magic.session.run.settling import OpenRun, traced
from modal_gpu_magic.session.values.sync import Outgoing
from modal_gpu_magic.wire.messages.events import Answer, RunTrace, Transfer
from modal_gpu_magic.wire.transfer import Packed


def trace(run: str, names: str | None) -> RunTrace:
    return RunTrace(run, None if names is None else frozenset(names))


@pytest.mark.parametrize(
    "history, saved, ended, expected",
    [
        ([], "", ("1", "a"), [("1", "a")]),
        ([("1", "a")], "", ("2", "b"), [("2", "ab")]),
        ([("1", "a")], "1", ("2", "b"), [("1", "a"), ("2", "b")]),
        ([("1", "a"), ("2", "b")], "1", ("3", "c"), [("1", "a"), ("3", "bc")]),
        ([("1", "a"), ("2", "b")], "2", ("3", "c"), [("2", "b"), ("3", "c")]),
        ([("1", "a"), ("2", None)], "1", ("3", "c"), [("1", "a"), ("3", None)]),
        ([("1", "a")], "unknown", ("2", "b"), [("2", "ab")]),
    ],
)
def test_a_run_has_the_changes_since_the_last_that_may_be_saved(
    history: list[tuple[str, str | None]],
    saved: str,
    ended: tuple[str, str | None],
    expected: list[tuple[str, str | None]],
) -> None:
    assert traced([trace(*each) for each in history], saved, trace(*ended)) == [trace(*each) for each in expected]


def test_a_thousand_runs_are_two() -> None:
    history: list[RunTrace] = []
    for number in range(1000):
        history = traced(history, "5", trace(str(number), "a"))
    assert [each.run for each in history] == ["5", "999"]


class Stopped(SimpleNamespace):
    """A session with an open run whose end its container tells, as `settle` sees it."""

    def __init__(self, follower: threading.Thread | None = None) -> None:
        self.open_run: OpenRun | None = OpenRun("r", Outgoing(), Packed(Transfer()), 1, follower=follower)
        self.asked: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.app = SimpleNamespace(ended=self.ended)

    def ended(self, run: str) -> Answer:
        """Answer for the container."""
        self.asked.append(run)
        self.meanwhile()
        return Answer("g", "1")


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose answers are applied."""
    runs: list[str] = []

    def apply(session: Any, run: OpenRun, _answer: Answer, _say: object) -> None:
        runs.append(run.run)
        session.open_run = None

    monkeypatch.setattr(settling, "apply_late_answer", apply)
    return runs


def settled(session: Any) -> None:
    settling.settle(session, SilentFront(), Inbox())


def test_a_run_that_was_stopped_is_settled_once(applied: list[str]) -> None:
    session = Stopped()
    settled(session)
    settled(session)
    assert (session.asked, applied) == (["r"], ["r"])


def test_a_run_that_is_settled_while_another_thread_asks_is_not_applied_again(applied: list[str]) -> None:
    session = Stopped()
    session.meanwhile = lambda: setattr(session, "open_run", None)
    settled(session)
    assert (session.asked, applied) == (["r"], [])


def test_a_run_of_two_that_ask_at_once_is_applied_by_one(applied: list[str]) -> None:
    session, both = Stopped(), threading.Barrier(2)
    session.meanwhile = lambda: (both.wait(60), None)[1]
    threads = [threading.Thread(target=settled, args=(session,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert applied == ["r"]


def test_a_cell_that_runs_is_waited_for_and_applied_by_its_own_thread(applied: list[str]) -> None:
    session = Stopped(follower=threading.current_thread())
    asks = threading.Thread(target=settled, args=(session,))
    asks.start()
    asks.join(0.3)
    assert asks.is_alive()
    assert session.asked == []
    session.open_run = None
    asks.join(60)
    assert (asks.is_alive(), session.asked, applied) == (False, [], [])


@pytest.mark.parametrize("ends", [True, False], ids=["its thread went on without it", "its thread has ended"])
def test_a_run_that_nobody_follows_any_more_is_settled(applied: list[str], ends: bool) -> None:
    follower = threading.Thread(target=int)
    session = Stopped(follower=follower)
    follower.start()
    follower.join(60)
    if ends and session.open_run is not None:
        session.open_run.follower = None
    settled(session)
    assert applied == ["r"]
