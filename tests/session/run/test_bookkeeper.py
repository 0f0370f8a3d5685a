"""What the ledger has of a session is what its meter counts, at any moment, whatever happens to its containers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.session.costs.ledger import Ledger, Record
from modal_gpu_magic.session.costs.summary import joined
from modal_gpu_magic.session.run.bookkeeper import CHECKPOINT_SECONDS, WAIT_SECONDS, Bookkeeper, running_now
from modal_gpu_magic.session.run.cost_meter import Meter

START: Final = 1_795_780_800.0
TEMPLATE: Final = Record("", "run", 0, 0, 0, "cloud", "default", "H100", "H100", hourly=3.6)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Desk:
    """A meter, its bookkeeper, and what the ledger has, by id."""

    def __init__(self, exits: float = 0.2, hourly: float | None = 3.6, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.meter = Meter(self.clock, exits)
        self.book = Bookkeeper(self.meter, self.clock)
        self.records: dict[str, Record] = {}
        self.written = 0
        self.hourly = hourly
        self.book.write = self._write
        self.generation = 0

    def _write(self, *records: Record) -> None:
        self.records.update((each.id, each) for each in records)
        self.written += 1

    def begin(self) -> None:
        self.book.begins(TEMPLATE)
        self.meter.runs(self.hourly)

    def run(self, seconds: float, *, idle: float | None = 300.0, cold: bool = False, outcome: str = "done") -> None:
        """A whole run, in a new container or in the one that is known."""
        self.begin()
        self.meter.sent()
        self.meter.spawned()
        if cold or not self.generation:
            self.clock.now += 3
            self.generation += 1
            self.meter.lives(self.clock.now, 0, str(self.generation))
            self.clock.now += 2
        else:
            self.meter.lives(self.clock.now, 0, str(self.generation))
        self.meter.marks([("running", self.clock.now)])
        for _ in range(int(seconds)):
            self.clock.now += 1
            self.book.tick()
        self.meter.over()
        self.meter.ran(None if idle is None else self.clock.now + idle)
        if idle is None:
            self.generation += 1
        self.book.ran(outcome)

    @property
    def total(self) -> float:
        return sum(each.dollars_at(self.clock.now) or 0.0 for each in self.records.values())

    def kinds(self) -> list[str]:
        return [each.kind for each in self.records.values()]


def test_a_run_and_its_idle_time() -> None:
    desk = Desk()
    desk.run(10)
    run, idle = desk.records.values()
    assert (run.outcome, run.phases) == ("done", {"starting": 2.0, "running": 10.0})
    assert run.dollars == pytest.approx(0.012)
    assert (run.until, run.began) == (run.ended, START)
    assert idle.kind == "idle"
    assert idle.dollars == pytest.approx(0.0)
    desk.clock.now += 100
    assert desk.total == pytest.approx(desk.meter.spent) == pytest.approx(0.112)
    desk.clock.now += 1000  # the container has ended by itself
    assert desk.total == pytest.approx(desk.meter.spent) == pytest.approx(0.3122)
    desk.run(5, cold=True)
    assert desk.total == pytest.approx(desk.meter.spent)
    assert desk.kinds() == ["run", "idle", "run", "idle"]
    desk.book.close()
    assert all(each.until == each.ended for each in desk.records.values())


def test_a_kernel_that_dies_leaves_what_was_known() -> None:
    desk = Desk()
    desk.begin()
    desk.meter.sent()
    desk.meter.lives(desk.clock.now, 0, "a")
    desk.meter.marks([("running", desk.clock.now)])
    for _ in range(100):
        desk.clock.now += 1
        desk.book.tick()
    (record,) = desk.records.values()
    assert desk.written == 1 + 99 // CHECKPOINT_SECONDS
    assert record.outcome == ""
    assert record.dollars_at(desk.clock.now) == pytest.approx(0.1)
    assert record.dollars_at(START + 1e9) == pytest.approx((91 + 2 * CHECKPOINT_SECONDS) / 1000)  # and no more


def test_a_detached_run_costs_to_its_limit() -> None:
    desk = Desk()
    desk.book.begins(TEMPLATE, lives_to=START + 3600)
    desk.meter.runs(3.6)
    desk.meter.sent()
    desk.meter.lives(desk.clock.now, 0, "a")
    desk.clock.now += 1
    desk.book.tick()
    desk.book.close()  # this kernel ends, the container does not
    (record,) = desk.records.values()
    assert record.dollars_at(START + 1e9) == pytest.approx(3.6)


def test_a_kernel_s_end_closes_its_records() -> None:
    desk = Desk()
    desk.run(10)
    desk.clock.now += 50
    desk.book.close()
    desk.clock.now += 1000
    assert desk.total == pytest.approx(0.062)


def test_a_kernel_s_end_in_a_cell_closes_its_record() -> None:
    desk = Desk()
    desk.begin()
    desk.meter.sent()
    desk.meter.lives(desk.clock.now, 0, "a")
    desk.meter.marks([("running", desk.clock.now)])
    desk.clock.now += 7
    desk.book.close()
    (record,) = desk.records.values()
    assert (record.outcome, record.until) == ("lost", desk.clock.now)
    assert record.dollars == pytest.approx(0.007)


def test_a_run_that_was_never_sent_has_no_record() -> None:
    desk = Desk()
    desk.begin()
    desk.clock.now += 10
    desk.book.tick()
    desk.meter.ran(None)
    desk.book.ran("stopped")
    assert desk.records == {}


def test_a_lost_container_leaves_no_idle_time() -> None:
    desk = Desk()
    desk.run(10, idle=None, outcome="lost")
    assert desk.kinds() == ["run"]
    assert desk.total == pytest.approx(desk.meter.spent)


def test_an_unknown_price_stays_unknown() -> None:
    desk = Desk(hourly=None)
    desk.run(10)
    assert [each.dollars for each in desk.records.values()] == [None, None]
    assert desk.meter.spent is None


def test_switched_off_nothing_is_written_and_later_costs_stand_alone() -> None:
    desk = Desk()
    desk.book.write = None
    desk.run(10)
    desk.book.write = desk._write
    desk.run(10)
    assert [each.dollars for each in desk.records.values() if each.kind == "run"] == [pytest.approx(0.010)]


def test_a_ledger_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    desk = Desk()
    (tmp_path / "ledger").write_text("a file, where the folder should be")
    desk.book.write = Ledger(tmp_path / "ledger").append
    desk.run(3)
    (text,) = desk.book.news()
    assert "cannot be written" in text
    assert list(desk.book.news()) == []


def test_a_short_run_is_written_at_once_when_it_ends() -> None:
    desk = Desk()
    desk.run(0)
    desk.clock.now += 60
    before = desk.written
    desk.run(0)
    assert desk.written == before + 1  # the end of the idle time, the run, and the idle time after it
    assert desk.kinds() == ["run", "idle", "run", "idle"]
    assert desk.total == pytest.approx(desk.meter.spent)


def test_the_idle_time_before_a_longer_run_is_written_while_that_runs() -> None:
    desk = Desk()
    desk.run(0)
    desk.clock.now += 60
    desk.begin()
    (idle,) = (each for each in desk.book.open_records() if each.kind == "idle")
    assert (idle.ended, idle.until) == (desk.clock.now, desk.clock.now)
    assert desk.records[idle.id].until > desk.clock.now
    desk.clock.now += WAIT_SECONDS
    desk.book.tick()
    assert desk.records[idle.id] == idle
    assert all(each.kind != "idle" for each in desk.book.open_records())


def test_a_run_that_may_outlive_its_kernel_is_preceded_by_all_that_was_before() -> None:
    desk = Desk()
    desk.run(0)
    desk.clock.now += 60
    desk.book.begins(TEMPLATE, lives_to=desk.clock.now + 3600)
    assert all(each.until <= desk.clock.now for each in desk.records.values())


def test_what_runs_now_is_known_to_the_moment() -> None:
    desk = Desk()
    desk.run(10)
    desk.begin()
    desk.meter.sent()
    desk.meter.lives(desk.clock.now, 0, "1")
    desk.meter.marks([("running", desk.clock.now)])
    desk.clock.now += 20
    known = {**desk.records, **{each.id: each for each in desk.book.open_records()}}
    assert all(each in running_now() for each in desk.book.open_records())
    assert sum(each.dollars_at(desk.clock.now) or 0.0 for each in known.values()) == pytest.approx(desk.meter.spent)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(0, 90), st.booleans(), st.sampled_from((None, 5.0, 300.0))),
        st.tuples(st.just("wait"), st.integers(0, 500)),
        st.tuples(st.just("stop")),
        st.tuples(st.just("unsent")),
        st.tuples(st.just("price"), st.sampled_from((1.0, 3.6, 8.0))),
        st.tuples(st.just("replaced")),
    ),
    max_size=14,
)


@given(steps)
@settings(deadline=None, max_examples=200)
def test_records_add_up_to_the_meter(history: list[Any]) -> None:
    """At any moment between two cells, from the ledger alone."""
    desk = Desk()
    for step in history:
        match step:
            case ("run", seconds, cold, idle):
                desk.run(seconds, cold=cold, idle=idle)
            case ("wait", seconds):
                desk.clock.now += seconds
            case ("stop",):
                desk.meter.ends()
                desk.book.ended()
                desk.clock.now += 1  # its process has ended
            case ("unsent",):
                desk.begin()
                desk.meter.ran(None)
                desk.book.ran("stopped")
            case ("price", hourly):
                desk.hourly = hourly
            case ("replaced",):
                desk.generation += 1
    desk.book.begins(TEMPLATE)
    assert desk.total == pytest.approx(desk.meter.spent, abs=1e-6)


@given(steps)
@settings(deadline=None, max_examples=100)
def test_the_ledger_never_has_an_open_end_after_the_containers(history: list[Any]) -> None:
    desk = Desk()
    for step in history:
        if step[0] == "run":
            desk.run(step[1], cold=step[2], idle=step[3])
        elif step[0] == "wait":
            desk.clock.now += step[1]
    desk.clock.now += 10_000
    total = desk.total
    desk.clock.now += 10_000
    assert desk.total == total
    assert total == pytest.approx(desk.meter.spent, abs=1e-3)


IDLE_SECONDS: Final = 300.0


@dataclass
class Shared:
    """A detached session with one container, which two kernels have by turns, and their one ledger."""

    clock: Clock = field(default_factory=Clock)
    records: dict[str, Record] = field(default_factory=dict)
    sent: list[tuple[str, float, float]] = field(default_factory=list)
    """The runs: id, when it was sent, when it ended."""

    def kernel(self) -> Desk:
        desk = Desk(clock=self.clock)
        desk.records = self.records
        return desk

    def run(self, desk: Desk, seconds: float) -> None:
        """A cell of the kernel that has the session."""
        name, began = f"run-{len(self.sent)}", self.clock.now
        desk.book.begins(replace(TEMPLATE, id=name), began + 3600)
        self._follows(desk, began, began + seconds)
        self.sent.append((name, began, self.clock.now))

    def attach(self, desk: Desk, shows: int) -> None:
        """Let a kernel take the session over; it shows some of the runs, which have ended, and the last one."""
        desk.book.left()
        for name, began, ended in (*self.sent[:-1:shows], self.sent[-1]):
            desk.book.begins(replace(TEMPLATE, id=name), self.clock.now + 3600, began)
            if name != self.sent[-1][0]:
                desk.book.followed()
            self._follows(desk, began, ended)

    def _follows(self, desk: Desk, began: float, ended: float) -> None:
        desk.meter.runs(desk.hourly)
        desk.meter.sent(at=began)
        desk.meter.lives(START, 0, "1")
        desk.meter.marks([("running", began)])
        self.clock.now = max(self.clock.now, ended)
        desk.meter.over(ended)
        desk.meter.ran(ended + IDLE_SECONDS)
        desk.book.ran("done")

    @property
    def total(self) -> float:
        """What the ledger has, USD."""
        return sum(each.dollars_at(self.clock.now) or 0.0 for each in self.records.values())


turns = st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 50), max_size=3), st.integers(1, 3)), max_size=6)


@given(turns)
@settings(deadline=None, max_examples=200)
def test_kernels_that_have_a_session_by_turns_write_each_second_once(
    history: list[tuple[bool, list[int], int]],
) -> None:
    """The session was counted twice, or less than nothing, by the kernel that had it before."""
    shared = Shared()
    kernels = [shared.kernel(), shared.kernel()]
    shared.run(kernels[0], 5)
    for second, runs, shows in history:
        shared.clock.now += 7
        shared.attach(kernels[second], shows)
        for seconds in runs:
            shared.clock.now += 3
            shared.run(kernels[second], seconds)
        assert shared.total == pytest.approx((shared.clock.now - START) / 1000)
        assert all((each.dollars or 0.0) > -1e-9 for each in shared.records.values())
        for each in kernels:  # also one that has not noticed that the other has the session
            seen = joined(shared.records.values(), each.book.open_records())
            assert sum(record.dollars_at(shared.clock.now) or 0.0 for record in seen) == pytest.approx(shared.total)


def test_a_run_that_is_shown_a_day_later_costs_on_its_own_day() -> None:
    shared = Shared()
    shared.run(shared.kernel(), 5)
    shared.clock.now += 86400
    shared.attach(shared.kernel(), 1)
    assert [each.dollars_within(START, START + 1000, shared.clock.now) for each in shared.records.values()] == [
        pytest.approx(0.005),
        pytest.approx(0.3002),
    ]


def test_a_container_that_is_ended_for_another_one_is_counted_with_the_end_of_its_process() -> None:
    desk = Desk()
    desk.run(10)
    desk.meter.ends()
    desk.clock.now += 1
    seconds = desk.meter.container_seconds
    desk.generation += 1
    desk.meter.lives(desk.clock.now, 0, str(desk.generation))
    assert desk.meter.container_seconds == seconds
