"""Run status for the picker and `%modal_gpu status`: the phase of a session's container, and a way to stop its cell."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from modal_gpu_magic.session.run.bookkeeper import Bookkeeper
from modal_gpu_magic.session.run.cost_meter import EXIT_SECONDS, Meter
from modal_gpu_magic.session.run.front import State
from modal_gpu_magic.session.run.interrupts import press

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modal_gpu_magic.session.costs.ledger import Record
    from modal_gpu_magic.session.run.cost_meter import Standing
    from modal_gpu_magic.session.run.front import Front, Phase
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.run.metrics import Metrics


class Status:
    """The status of one session. Each change calls the watchers of `metrics`.

    Args:
        metrics: the readings of the session's GPUs.
        hourly: returns the price of the machine by the GPUs that arrived, USD per hour; None: not known.
        record: returns the facts of the session for the ledger; None: nothing is written.

    Attributes:
        meter: the phase of the run and the cost so far.
        book: writes the ledger.
        lives_to: returns when the container of a detached session ends at the latest if nobody comes back, seconds
            since the epoch; None: the container ends with this kernel.
        covered_to: the time to which another kernel has the records of the container in which the next run is, seconds
            since the epoch; None: this kernel sends the run.
        press: stops the running cell as ■ does, callable from any thread; None: no cell runs.
    """

    def __init__(
        self, metrics: Metrics, hourly: Callable[[], float | None], record: Callable[[], Record] | None = None
    ) -> None:
        self.meter = Meter(exits=EXIT_SECONDS)
        self.book = Bookkeeper(self.meter)
        self._record = record
        self.lives_to: Callable[[], float | None] = lambda: None
        self.covered_to: float | None = None
        self.press: Callable[[], None] | None = None
        self._metrics = metrics
        metrics.watch(lambda reading: self.meter.price(hourly()) if reading else None)

    @property
    def standing(self) -> Standing:
        """The state of the session now."""
        return self.meter.standing

    @contextlib.contextmanager
    def running(
        self, front: Front, inbox: Inbox, hourly: float | None, nodes: int, idle_until: Callable[[], float | None]
    ) -> Iterator[None]:
        """Report a running cell inside the block, and allow stopping it; an exception ends the cell without a receipt.

        Args:
            front: shows the run.
            inbox: gets the presses of ■.
            hourly: price of the machine, all nodes together, USD per hour; None: not known.
            nodes: number of its containers.
            idle_until: called after the run; returns when the idle container ends, seconds since the epoch, or None.
        """
        self.press = partial(press, inbox)
        if self._record is not None:
            self.book.begins(self._record(), self.lives_to(), self.covered_to)
        self.meter.runs(hourly, nodes)
        self._metrics.tell()
        try:
            yield
        except BaseException as error:
            self.meter.outcome = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            front.broke_off(self.meter.outcome)
            raise
        finally:
            self.press = None
            self.meter.ran(idle_until())
            if self.meter.outcome:  # else the receipt follows
                self.book.ran(self.meter.outcome)
            self._metrics.tell()

    def state(self, phase: Phase, subject: str, seconds: float, detail: str = "") -> State:
        """Return the state of the run for its front, with the cost so far."""
        self.book.tick()
        return State(phase, subject, seconds, detail, self.meter.cost, self.meter.adds)

    def enters(self, phase: Phase) -> None:
        """Set the phase of the run."""
        self.meter.enters(phase)
        self._metrics.tell()

    def concluded(self, outcome: str, gpu: str = "") -> None:
        """Set how the cell ended. `gpu`: the GPU that is billed; empty: the first that was asked for."""
        self.meter.outcome = outcome
        self.book.ran(outcome, gpu)
        self._metrics.tell()

    def ended(self) -> None:
        """Record the end of the container after the session was stopped."""
        self.meter.ends()
        self.book.ended()
        self._metrics.tell()
