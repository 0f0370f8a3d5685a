"""The runs that a saved state is compared with."""

from __future__ import annotations

import pytest

from modal_gpu_magic.session.run.settling import traced
from modal_gpu_magic.wire.messages.events import RunTrace


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
