"""The times of a run whose container has another clock."""

from __future__ import annotations

import pytest

from modal_gpu_magic.session.run.clocks import Clock, Timing
from modal_gpu_magic.session.run.cost_meter import Meter
from modal_gpu_magic.wire.messages.events import Answer, Event

SENT = 1_000_000.0


class Now:
    """The kernel's clock, which only the test moves."""

    at = SENT

    def __call__(self) -> float:
        return self.at


def started(at: float, booted: float) -> Event:
    return Event(0, "started", {"generation": "g", "time": at, "booted_at": booted})


@pytest.mark.parametrize("ahead", [-120.0, 0.0, 120.0, 1e6])
@pytest.mark.parametrize("is_seen", [True, False])
@pytest.mark.parametrize(
    "booted, expected",
    [
        (2.0, {"waiting": 2.0, "starting": 3.0, "restoring": 1.0, "running": 4.0, "saving": 1.0}),
        (-600.0, {"waiting": 5.0, "restoring": 1.0, "running": 4.0, "saving": 1.0}),  # it ran before
    ],
)
def test_the_difference_of_the_clocks_is_in_no_duration(
    ahead: float, is_seen: bool, booted: float, expected: dict[str, float]
) -> None:
    there, now = SENT + ahead, Now()
    meter = Meter(now)
    meter.runs(3.6)
    timing = Timing(meter, now)
    meter.sent()
    now.at = SENT + 5
    if is_seen:
        timing.takes(started(there + 5, there + booted), "g")
        timing.takes(Event(1, "phase", {"phase": "restoring", "subject": "", "time": there + 5}), "g")
    phases = (("restoring", there + 5), ("running", there + 6), ("saving", there + 10))
    now.at = SENT + 11
    answer = Answer("g", "v", booted_at=there + booted, phases=phases, made_at=there + 11)  # type: ignore[arg-type]  # pairs
    timing.answered(answer, now.at)
    assert {each.phase: each.seconds for each in meter.phases} == pytest.approx(expected)
    assert meter.container_seconds == pytest.approx(11 - booted)
    billed = sum(expected.values()) - expected["waiting"]
    assert meter.cost == pytest.approx(billed * 0.001)


def test_the_message_with_the_shortest_delay_tells_the_time() -> None:
    clock = Clock()
    for sent, arrived in ((10.0, 112.0), (20.0, 121.0), (30.0, 139.0)):
        clock.hears(sent, arrived)
    assert clock.on_kernel_clock(20.0) == 121.0


@pytest.mark.parametrize("ahead", [-120.0, 0.0, 120.0])
def test_a_kernel_that_attaches_counts_from_the_beginning_of_the_run(ahead: float) -> None:
    """The old events arrive long after they were sent; the first live message tells the difference of the clocks."""
    there, now = SENT + ahead, Now()
    meter = Meter(now)
    meter.runs(3600.0)
    timing = Timing(meter, now)
    meter.sent(at=SENT)
    now.at = SENT + 100
    timing.takes(started(there + 5, there + 2), "g")
    timing.takes(Event(1, "phase", {"phase": "running", "subject": "", "time": there + 6}), "g")
    assert timing.hears(there + 104, "other") is None
    now.at = SENT + 104
    assert timing.hears(there + 104, "g") == pytest.approx(SENT + 6)
    assert meter.cost == pytest.approx(102.0)


def test_a_container_that_is_lost_has_the_times_of_its_events() -> None:
    now = Now()
    meter = Meter(now)
    meter.runs(3.6)
    meter.sent()
    timing = Timing(meter, now)
    now.at += 4
    timing.takes(started(1004.0, 1001.0), "g")
    now.at += 1
    timing.takes(Event(1, "phase", {"phase": "running", "subject": "", "time": 1005.0}), "g")
    now.at = SENT + 20
    timing.lost(SENT + 15, existed=True)
    assert {each.phase: each.seconds for each in meter.phases} == pytest.approx(
        {"waiting": 1.0, "starting": 4.0, "running": 10.0}
    )
    meter.ends(SENT + 15)
    assert meter.container_seconds == pytest.approx(14.0)


def test_a_container_that_is_lost_before_it_has_reported_its_start_counts_from_when_none_was_known() -> None:
    now = Now()
    meter = Meter(now)
    meter.runs(3.6)
    meter.sent()
    timing = Timing(meter, now)
    now.at += 10
    timing.queued()
    now.at += 3
    timing.lost(now.at, existed=True)
    meter.ends(now.at)
    assert {each.phase: each.seconds for each in meter.phases} == pytest.approx({"waiting": 10.0, "starting": 3.0})
    assert meter.container_seconds == pytest.approx(3.0)


def test_a_run_that_no_container_had_is_free() -> None:
    now = Now()
    meter = Meter(now)
    meter.runs(3.6)
    meter.sent()
    timing = Timing(meter, now)
    now.at += 10
    timing.lost(now.at, existed=False)
    assert meter.cost == meter.spent == 0.0
