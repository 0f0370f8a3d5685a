"""About how many container-seconds a service took: while calls run, and for the idle time behind the last."""

from __future__ import annotations

from modal_gpu_magic.session.service.usage import Usage


class Clock:
    """Says what it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_call_and_the_idle_time_behind_it_count() -> None:
    clock = Clock()
    usage = Usage(window=60, clock=clock)
    clock.now = 5.0
    assert usage.seconds == 0, "nothing runs before the first call"
    with usage.use():
        clock.now = 25.0
        with usage.use():
            clock.now = 35.0
    assert usage.seconds == 30
    clock.now = 45.0
    assert usage.seconds == 40
    clock.now = 1000.0
    assert usage.seconds == 30 + 60
    with usage.use():
        clock.now = 1010.0
    assert usage.seconds == 100


def test_containers_that_modal_counts() -> None:
    clock = Clock()
    usage = Usage(window=10, clock=clock)
    with usage.use():
        usage.seen(3)
        clock.now = 10.0
    usage.seen(1)
    clock.now = 15.0
    assert usage.seconds == 30 + 5
    usage.seen(0)
    clock.now = 18.0
    assert (usage.seconds, usage.alive) == (30 + 5, 0), "Modal ends idle containers one by one"


def test_a_call_after_the_idle_time_starts_one_container_until_modal_counts() -> None:
    clock = Clock()
    usage = Usage(window=10, clock=clock)
    with usage.use():
        usage.seen(4)
    clock.now = 10.0
    assert (usage.seconds, usage.may_run) == (40, False)
    clock.now = 100.0
    with usage.use():
        assert (usage.alive, usage.may_run) == (1, True)
        clock.now = 101.0
    assert usage.seconds == 41


def test_a_call_within_the_idle_time_keeps_the_count() -> None:
    clock = Clock()
    usage = Usage(window=10, clock=clock)
    with usage.use():
        usage.seen(4)
    clock.now = 5.0
    with usage.use():
        clock.now = 6.0
    assert usage.seconds == 24


def test_containers_that_are_always_there() -> None:
    clock = Clock()
    usage = Usage(window=10, least=2, clock=clock)
    clock.now = 100.0
    assert usage.seconds == 200


def test_the_end_ends_it() -> None:
    clock = Clock()
    usage = Usage(window=10, least=1, clock=clock)
    with usage.use():
        clock.now = 5.0
        usage.end()
        clock.now = 50.0
    assert usage.seconds == 5


def test_the_first_container_counts_from_its_start_and_to_its_end() -> None:
    clock = Clock()
    clock.now = 100.0
    usage = Usage(window=60, clock=clock, alive_since=88.0, exits=0.5)
    clock.now = 110.0
    assert usage.seconds == 12 + 10
    usage.end()
    clock.now = 120.0
    assert usage.seconds == 22.5


def test_a_service_whose_containers_have_ended_ends_none() -> None:
    clock = Clock()
    usage = Usage(window=5, clock=clock, alive_since=0.0, exits=0.5)
    clock.now = 100.0
    usage.end()
    assert usage.seconds == 5


def test_a_call_that_ends_after_the_end_counts_no_more() -> None:
    clock = Clock()
    usage = Usage(window=10, clock=clock)
    with usage.use():
        clock.now = 5.0
        usage.end()
    clock.now = 50.0
    assert (usage.seconds, usage.alive, usage.ends_in) == (5, 0, 0)
    with usage.use():
        clock.now = 60.0
    assert (usage.seconds, usage.alive) == (5, 0)
