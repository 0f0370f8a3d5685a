"""Writes what the meter of a session measures into the ledger: one record a run, and one for each idle time.

The records of a session add up to its meter: a run's record has what its receipt shows, and the idle time that follows
has all that the meter counts beside it. A running cell is written down every CHECKPOINT_SECONDS, and an idle time when
it begins, with the time to which it may cost: a kernel that dies leaves what was known. What a short cell changes is
written at once when the cell ends, since each write takes its time before the cell or after it.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
import uuid
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modal_gpu_magic.session.costs.ledger import Kind, Record
    from modal_gpu_magic.session.run.cost_meter import Meter

CHECKPOINT_SECONDS: Final = 30.0
"""Seconds between two records of a running cell."""
WAIT_SECONDS: Final = 0.2
"""Seconds of a run after which the end of the idle time before it is written, unless the run has ended by then."""
LEAST_DOLLARS: Final = 1e-9
"""A smaller difference is one of floating point."""


class Write(Protocol):
    """Writes records into the ledger."""

    def __call__(self, *records: Record) -> None:
        """Write them.

        Raises:
            OSError: they cannot be written.
        """


class Keeper(Protocol):
    """Has the records of what runs in this kernel: a session's bookkeeper, or a service's."""

    def open_records(self) -> tuple[Record, ...]:
        """Return the records of what runs or idles now, up to this moment."""

    def close(self) -> None:
        """Write down what is known at the end of this kernel."""


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


def keep(keeper: Keeper) -> None:
    """Count a keeper's records as running now, and close them at the end of this kernel."""
    _keepers.add(keeper)


class Bookkeeper:
    """Writes the records of one session.

    Args:
        meter: the session's meter.
        clock: returns seconds since the epoch.

    Attributes:
        write: writes records; None: the ledger is off.
    """

    def __init__(self, meter: Meter, clock: Callable[[], float] = time.time) -> None:
        self._meter, self._clock = meter, clock
        self.write: Write | None = None
        self._unwritten: dict[str, Record] = {}
        """Records that are to be written, by id."""
        self._process = os.getpid()
        self._name, self._numbers = uuid.uuid4().hex[:12], itertools.count(1)
        self._booked = self._booked_seconds = 0.0
        """USD and container-seconds in closed records."""
        self._run: Record | None = None
        self._idle: Record | None = None
        self._lives_to: float | None = None
        self._covered_to = 0.0
        """The time to which other records have the costs, also those of other kernels, seconds since the epoch."""
        self._has_left = False
        """Whether another kernel may have the session, and the records of its containers."""
        self._is_followed = False
        """Whether another run has followed the present one, which another kernel has sent."""
        self._began_at = self._checkpoint_at = 0.0
        self._trouble = ""
        self._has_told = False
        self._lock = threading.RLock()
        keep(self)

    def begins(self, template: Record, lives_to: float | None = None, covered_to: float | None = None) -> None:
        """Begin a run: the idle time before it ends.

        Args:
            template: the facts of the session, for this run and the idle time after it. Its id names the run, so that
                another kernel can replace the record; empty: the id is made.
            lives_to: when the run ends at the latest if this kernel dies, seconds since the epoch; None: with it.
            covered_to: when the kernel that has sent the run did so, seconds since the epoch: the costs before are in
                other records, which this kernel or others have written. None: this kernel sends the run.
        """
        with self._lock:
            self.ran("failed")  # the receipt of the run before was never made
            now = self._clock()
            began = now if covered_to is None else min(now, covered_to)
            self._close_idle(began)
            if covered_to is not None or self._has_left:
                self._covered_to, self._booked, self._booked_seconds = began, 0.0, 0.0
                self._has_left = False
            self._run, self._lives_to, self._is_followed = self._new(template, "run", began), lives_to, False
            self._began_at = self._checkpoint_at = now
            if lives_to is not None:  # another kernel may read the ledger, and write of the same containers
                self._write()

    def tick(self) -> None:
        """Write the running cell down, if that is due and a container exists."""
        with self._lock:
            run, now = self._run, self._clock()
            if run is not None and now >= self._checkpoint_at and self._meter.adds != 0.0:
                self._checkpoint_at = now + CHECKPOINT_SECONDS
                self._put(self._current(run))
            if now >= self._began_at + WAIT_SECONDS:
                self._write()

    def ran(self, outcome: str, gpu: str = "") -> None:
        """End the run: its receipt is made. `gpu`: the GPU that is billed, once known."""
        with self._lock:
            run, self._run = self._run, None
            if run is None:
                return
            ended = max(run.began, self._meter.ended_at or self._clock())
            if self._meter.phases:
                whole = replace(self._current(run), ended=ended, until=ended, outcome=outcome, gpu=gpu or run.gpu)
                self._put(whole)
                self._book(whole)
            if not self._is_followed:
                self._open_idle(replace(run, gpu=gpu or run.gpu), ended)
            self._write()

    def followed(self) -> None:
        """Note that another run has followed the present one: the kernel that sent it wrote the idle time between."""
        with self._lock:
            self._is_followed = True

    def left(self) -> None:
        """Note that another kernel may have the session from now on: it goes on with the open records."""
        with self._lock:
            self._write()
            self._run = self._idle = None
            self._has_left = True

    def ended(self) -> None:
        """Note that the session's containers end. Their processes take a moment, which is billed."""
        with self._lock:
            if self._idle is not None:
                now = self._clock()
                until = max(now, self._meter.ends_at)
                self._idle = self._with_rest(replace(self._idle, ended=now, until=until))
                self._put(self._idle)
            self._write()

    def close(self) -> None:
        """Write down what is known at the end of this kernel, whose containers end with it."""
        with self._lock:
            if os.getpid() != self._process or self._lives_to is not None:
                return
            if self._run is not None:
                self.ran("lost")
            self._close_idle(self._clock())
            self._write()

    def news(self) -> Iterator[str]:
        """Yield once that the ledger could not be written."""
        if self._trouble and not self._has_told:
            self._has_told = True
            yield (
                f"The ledger of costs cannot be written: {self._trouble}. "
                "`%modal_gpu costs` and budget_day lack this run. `%config ModalGpu.ledger = False` switches it off."
            )

    def open_records(self) -> tuple[Record, ...]:
        """Return the records of what runs or idles now, up to this moment, and those that are not written yet."""
        with self._lock:
            run, idle = self._run, self._idle
            now = self._clock()
            current = [self._current(run)] if run is not None and self._meter.phases else []
            open_records = (*(replace(each, until=now) for each in current), *([idle] if idle is not None else []))
            return (*self._unwritten.values(), *open_records)

    def _new(self, template: Record, kind: Kind, now: float) -> Record:
        name = template.id or f"{self._name}-{next(self._numbers)}"
        return replace(
            template, id=name, kind=kind, began=now, ended=now, until=now, dollars=0.0, outcome="", phases={}
        )

    def _current(self, run: Record) -> Record:
        """Return the record of the run up to now. It costs on for a while: this kernel may not live to write again."""
        now, phases = self._clock(), self._meter.phases
        most = now + 2 * CHECKPOINT_SECONDS if self._lives_to is None else self._lives_to
        return replace(
            run,
            ended=now,
            until=now if self._meter.adds == 0.0 else max(now, most),
            phases={each.phase: each.seconds * run.nodes for each in phases if each.is_billed},
            dollars=self._meter.cost,
            hourly=self._meter.hourly,
        )

    def _open_idle(self, run: Record, began: float) -> None:
        """Begin an idle time: its record has what the meter counts beside the run, and when it ends at the latest."""
        now, idle_until = self._clock(), self._meter.standing.idle_until
        idle = self._new(replace(run, id=f"{run.id}-idle"), "idle", min(began, now))
        if idle_until is None:
            self._idle = None
            self._settle(idle, now)
        else:
            until = max(now, self._meter.ends_at)
            self._idle = replace(self._with_rest(replace(idle, ended=now, until=until)), hourly=self._meter.rate)
            self._put(self._idle)

    def _close_idle(self, at: float) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            self._settle(idle, at)

    def _settle(self, idle: Record, at: float) -> None:
        """Write an idle time that has ended, with all costs before a time that no other record has; none: no record."""
        ended = max(idle.began, min(at, self._meter.ends_at))
        whole = self._with_rest(replace(idle, ended=ended, until=ended), at)
        if idle.until > idle.ended or whole.dollars is None or abs(whole.dollars) > LEAST_DOLLARS:
            self._put(whole)
            self._book(whole)

    def _with_rest(self, idle: Record, at: float | None = None) -> Record:
        """Return a record of an idle time with all that the meter counts before a time, and no closed record has.

        Args:
            idle: the record.
            at: the time, seconds since the epoch; None: now.
        """
        seconds, spent = self._meter.before(self._clock() if at is None else at)
        covered_seconds, covered = self._meter.before(self._covered_to)
        dollars = None if spent is None or covered is None else spent - covered - self._booked
        return replace(
            idle, dollars=dollars, phases={"idle": max(0.0, seconds - covered_seconds - self._booked_seconds)}
        )

    def _book(self, record: Record) -> None:
        self._booked += record.dollars or 0.0
        self._booked_seconds += sum(record.phases.values())

    def _put(self, record: Record) -> None:
        if self.write is not None:
            self._unwritten[record.id] = record

    def _write(self) -> None:
        records = tuple(self._unwritten.values())
        self._unwritten.clear()
        if self.write is None or not records:
            return
        try:
            self.write(*records)
        except (OSError, ValueError) as error:
            self._trouble = str(error)


def running_now() -> tuple[Record, ...]:
    """Return the records of all that runs or idles in this kernel's sessions."""
    return tuple(record for each in tuple(_keepers) for record in each.open_records())


@atexit.register
def _close_all() -> None:
    for each in tuple(_keepers):
        each.close()
