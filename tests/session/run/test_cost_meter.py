"""What a session's containers have cost so far: run and idle count, waiting for a GPU does not, and a price may be unknown."""

from __future__ import annotations

from modal_gpu_magic.session.run.cost_meter import Meter

HOUR = 3600.0


class Clock:
    """Seconds that only the test lets pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_container_costs_from_its_start_through_its_idling() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.runs(4.0)
    clock.now += HOUR  # no GPU is free: nothing is paid for
    assert (meter.standing.doing, meter.standing.spent, meter.standing.hourly) == ("connecting", 0.0, 0.0)
    meter.lives(clock.now)
    clock.now += HOUR
    assert (meter.standing.spent, meter.standing.hourly) == (4.0, 4.0)
    meter.ran(clock.now + HOUR / 2)
    clock.now += HOUR / 4
    standing = meter.standing
    assert (standing.doing, standing.spent, standing.idle_until) == ("idle", 5.0, clock.now + HOUR / 4)
    clock.now += 9 * HOUR
    assert (meter.standing.doing, meter.standing.spent, meter.standing.hourly) == ("ended", 6.0, 0.0)
    meter.runs(4.0)
    meter.lives(clock.now)
    clock.now += HOUR
    assert meter.standing.spent == 10.0


def test_a_container_that_is_ended_costs_no_more() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.runs(2.0)
    meter.lives(clock.now)
    meter.ran(clock.now + HOUR)
    clock.now += HOUR / 2
    meter.ends()
    clock.now += HOUR
    assert (meter.standing.doing, meter.standing.spent) == ("ended", 1.0)


def test_a_price_that_is_not_known_makes_the_sum_unknown() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.runs(None)
    meter.lives(clock.now)
    clock.now += HOUR
    assert meter.standing.spent is None
    meter.ran(None)
    assert (meter.standing.doing, meter.standing.spent) == ("ended", None)


def test_it_has_the_phases_of_the_cell_and_how_the_last_one_ended() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.enters("running")
    assert (meter.standing.doing, meter.standing.outcome) == ("ended", ""), "no cell runs"
    meter.runs(1.0)
    clock.now += 5
    meter.enters("building")
    clock.now += 5
    meter.enters("building")
    assert (meter.standing.doing, meter.standing.since) == ("building", 1005.0)
    meter.outcome = "failed"
    meter.ran(clock.now + HOUR)
    assert (meter.standing.doing, meter.standing.outcome) == ("idle", "failed")
    meter.runs(1.0)
    assert (meter.standing.doing, meter.standing.outcome) == ("connecting", "")
