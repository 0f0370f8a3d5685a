"""Durations of a run whose container has another clock."""

from __future__ import annotations

import pytest

from modal_gpu_magic.session.run.clocks import NO_TIMES, Times, times
from modal_gpu_magic.wire.messages.events import Answer

SPAWNED = 1_000_000.0


@pytest.mark.parametrize("ahead", [-120.0, 0.0, 120.0, 1e6])
@pytest.mark.parametrize("is_seen", [True, False])
@pytest.mark.parametrize(
    "booted, expected",
    [
        (2.0, Times(2.0, 3.0, 4.0, SPAWNED + 2)),  # started for the run: 2 s of waiting, 3 s of starting
        (-600.0, Times(5.0, None, 4.0, SPAWNED - 600)),  # it ran before
    ],
)
def test_the_difference_of_the_clocks_is_in_no_duration(
    ahead: float, is_seen: bool, booted: float, expected: Times
) -> None:
    there = SPAWNED + ahead
    answer = Answer("g", "v", booted_at=there + booted, started_at=there + 5, ended_at=there + 9)
    assert times(answer, SPAWNED, SPAWNED + 5 if is_seen else None, SPAWNED + 9) == expected


def test_a_begin_that_is_heard_late_is_dated_by_the_answer() -> None:
    answer = Answer("g", "v", booted_at=1.0, started_at=101.0, ended_at=102.0)
    assert times(answer, SPAWNED, SPAWNED + 8, SPAWNED + 2).waited == 1.0


def test_without_an_answer_nothing_is_known() -> None:
    assert times(None, SPAWNED, None, SPAWNED) is NO_TIMES
