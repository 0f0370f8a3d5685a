"""What containers have cost so far: run and idle count, waiting for a GPU does not, and a price may be unknown."""

from __future__ import annotations

import pytest

from modal_gpu_magic.session.run.cost_meter import Meter

HOUR = 3600.0


class Clock:
    """Seconds that only the test lets pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def metered() -> tuple[Clock, Meter]:
    clock = Clock()
    return clock, Meter(clock)


def test_a_container_costs_from_its_start_through_its_idling() -> None:
    clock, meter = metered()
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
    clock, meter = metered()
    meter.runs(2.0)
    meter.lives(clock.now)
    meter.ran(clock.now + HOUR)
    clock.now += HOUR / 2
    meter.ends()
    clock.now += HOUR
    assert (meter.standing.doing, meter.standing.spent) == ("ended", 1.0)


def test_a_container_that_ends_by_itself_takes_a_moment() -> None:
    clock = Clock()
    for lost, seconds in ((None, HOUR + 1), (clock.now + HOUR, HOUR)):
        clock.now = Clock.now
        meter = Meter(clock, exits=1.0)
        meter.runs(2.0)
        meter.lives(clock.now)
        clock.now += HOUR
        meter.ends(lost)
        assert meter.standing.hourly == 0.0
        clock.now += HOUR
        assert meter.container_seconds == seconds


def test_a_price_that_is_not_known_makes_the_sum_unknown_until_it_is() -> None:
    clock, meter = metered()
    meter.runs(None)
    meter.sent()
    assert meter.spent == 0.0, "nothing runs yet"
    assert meter.cost is None
    clock.now += 1
    meter.lives(clock.now)
    clock.now += HOUR
    assert (meter.standing.spent, meter.cost, meter.rate) == (None, None, None)
    meter.price(3.0)
    assert meter.standing.spent == meter.cost == meter.rate == 3.0
    meter.price(None)
    meter.ran(None)
    assert (meter.standing.doing, meter.standing.spent) == ("ended", None)


def test_it_has_the_phases_of_the_cell_and_how_the_last_one_ended() -> None:
    clock, meter = metered()
    meter.enters("running")
    assert (meter.standing.doing, meter.standing.outcome) == ("ended", ""), "no cell runs"
    meter.runs(1.0)
    clock.now += 5
    meter.enters("building")
    clock.now += 5
    meter.enters("building")
    assert (meter.standing.doing, meter.standing.since) == ("building", 1005.0)
    meter.outcome = "failed"
    meter.lives(clock.now)
    meter.ran(clock.now + HOUR)
    assert (meter.standing.doing, meter.standing.outcome) == ("idle", "failed")
    meter.runs(1.0)
    assert (meter.standing.doing, meter.standing.outcome) == ("connecting", "")


def test_a_session_that_has_no_container_is_not_idle() -> None:
    """A cell that was stopped before Modal had it leaves nothing that would end."""
    clock, meter = metered()
    meter.runs(1.0)
    meter.ran(clock.now + HOUR)
    assert (meter.standing.doing, meter.standing.idle_until) == ("ended", None)


def test_every_node_costs_from_its_own_start_to_its_own_end() -> None:
    clock, meter = metered()
    meter.runs(8.0, nodes=2)
    meter.sent()
    clock.now += HOUR
    meter.lives(clock.now, 0, "a")
    clock.now += HOUR / 2
    meter.lives(clock.now, 1, "b")
    meter.marks([("running", clock.now)])
    clock.now += HOUR
    meter.over()
    assert (meter.container_seconds, meter.spent) == (2.5 * HOUR, 10.0)
    assert meter.cost == pytest.approx(10.0)
    assert [each.phase for each in meter.phases] == ["waiting", "starting", "running"]


def test_a_container_in_the_place_of_another_ends_that_one() -> None:
    clock, meter = metered()
    meter.runs(1.0)
    meter.sent()
    meter.lives(clock.now, 0, "a")
    meter.ran(clock.now + 9 * HOUR)
    clock.now += HOUR
    meter.runs(1.0)
    meter.sent()
    clock.now += 1
    meter.lives(clock.now, 0, "b")
    clock.now += HOUR
    assert meter.container_seconds == 2 * HOUR + 1


def test_containers_that_have_told_nothing_give_way_to_those_that_have() -> None:
    clock, meter = metered()
    meter.runs(2.0, nodes=2)
    meter.sent()
    meter.boots(clock.now)
    clock.now += 10
    assert meter.container_seconds == 20.0
    assert meter.cost == pytest.approx(2 * 10 / 3600)
    meter.lives(clock.now - 8, 0, "a")
    meter.boots(clock.now)
    meter.lives(clock.now - 6, 1, "b")
    assert meter.container_seconds == 14.0


def test_a_container_that_idled_longer_than_was_thought_has_run_all_the_time() -> None:
    clock, meter = metered()
    meter.runs(1.0)
    meter.sent()
    meter.lives(clock.now, 0, "a")
    meter.ran(clock.now + 10)
    clock.now += 60
    assert meter.container_seconds == 10.0
    meter.runs(1.0)
    meter.sent()
    meter.lives(clock.now, 0, "a")
    assert meter.container_seconds == 60.0


def test_a_run_that_is_sent_again_has_the_time_of_all_its_attempts() -> None:
    clock, meter = metered()
    meter.runs(1.0)
    meter.sent()
    clock.now += 1
    meter.lives(clock.now, 0, "a")
    clock.now += 10
    meter.over()  # it asks for values
    clock.now += 2
    meter.sent()
    clock.now += 1
    meter.lives(clock.now, 0, "a")
    meter.marks([("restoring", clock.now), ("running", clock.now + 1)])
    clock.now += 5
    meter.over()
    found = {each.phase: each.seconds for each in meter.phases}
    assert found == {"waiting": 2.0, "starting": 12.0, "restoring": 1.0, "running": 4.0}
