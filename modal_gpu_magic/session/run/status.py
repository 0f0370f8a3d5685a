"""Run status for the picker and `%modal_gpu status`: what a session's container does, and how to stop its cell."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from modal_gpu_magic.session.run.cost_meter import Meter
from modal_gpu_magic.session.run.interrupts import press

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modal_gpu_magic.session.run.cost_meter import Standing
    from modal_gpu_magic.session.run.front import Front, Phase
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.run.metrics import Metrics


class Status:
    """The status of one session. Whoever watches `metrics` is told of each change.

    Attributes:
        meter: the phase of the run, and the cost so far.
        press: does what ■ does to the cell that runs now, from any thread; None: none runs.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.meter = Meter()
        self.press: Callable[[], None] | None = None
        self._metrics = metrics
        metrics.watch(lambda reading: self.meter.lives(reading.time) if reading else None)

    @property
    def standing(self) -> Standing:
        """How the session stands now."""
        return self.meter.standing

    @contextlib.contextmanager
    def running(
        self, front: Front, inbox: Inbox, hourly: float | None, idle_until: Callable[[], float | None]
    ) -> Iterator[None]:
        """A cell runs meanwhile, and may be stopped; an exception is how it broke off.

        Args:
            front: shows the run.
            inbox: gets the presses of ■.
            hourly: USD an hour of the machine; None: not known.
            idle_until: when the container goes, asked after the run; None: it is gone.
        """
        self.press = partial(press, inbox)
        self.meter.runs(hourly)
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
            self._metrics.tell()

    def enters(self, phase: Phase) -> None:
        """The run enters a phase."""
        self.meter.enters(phase)
        self._metrics.tell()

    def concluded(self, outcome: str) -> None:
        """The cell is over, and this is how it ended."""
        self.meter.outcome = outcome
        self._metrics.tell()

    def ended(self) -> None:
        """The container has ended, because the session was stopped."""
        self.meter.ends()
        self._metrics.tell()
