"""The phase of a session's container and the cost of its containers so far, for the picker and the status line."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modal_gpu_magic.session.run.front import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

Doing = Phase | Literal["idle", "ended"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a session at one time. Times are seconds since the epoch.

    Attributes:
        doing: the phase of the running cell; `idle`: the container waits for a cell; `ended`: the session has none.
        since: when `doing` began.
        idle_until: when the idle container ends; None: it is not idle.
        spent: estimated cost of the session's containers so far, USD; None: the price is not known.
        hourly: cost that is added now, USD per hour; None: not known.
        outcome: how the last cell ended, such as `done` or `failed`; empty during a cell and before the first.
    """

    doing: Doing
    since: float
    idle_until: float | None
    spent: float | None
    hourly: float | None
    outcome: str = ""


class Meter:
    """Measures the phase and the cost of one session. `clock` returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._before: float | None = 0.0
        self._alive: float | None = None
        self._hourly: float | None = 0.0
        self._until: float | None = None
        self._since = clock()
        self._doing: Phase | None = None
        self.outcome = ""

    def runs(self, hourly: float | None) -> None:
        """Begin a cell. `hourly`: price of the machine, USD per hour; None: not known."""
        self._settle()
        self._doing, self._since, self._until, self._hourly = "connecting", self._clock(), None, hourly
        self.outcome = ""

    def enters(self, phase: Phase) -> None:
        """Set the phase of the running cell; without one, do nothing."""
        if self._doing not in (None, phase):
            self._doing, self._since = phase, self._clock()

    def lives(self, since: float) -> None:
        """Record that the container has run at least since `since`, seconds since the epoch."""
        if self._alive is None:
            self._alive = since

    def ran(self, idle_until: float | None) -> None:
        """End the cell. `idle_until`: when the idle container ends, seconds since the epoch; None: it has ended."""
        self._doing, self._since, self._until = None, self._clock(), idle_until
        if idle_until is None:
            self.ends()

    def ends(self) -> None:
        """Record the end of the container."""
        self._settle(ended=True)
        self._doing, self._since, self._until = None, self._clock(), None

    @property
    def standing(self) -> Standing:
        """The state of the session now."""
        now = self._clock()
        if self._doing is not None:
            return Standing(self._doing, self._since, None, self._spent(now), self._hourly if self._alive else 0.0)
        if self._until is not None and now < self._until:
            return Standing("idle", self._since, self._until, self._spent(now), self._hourly, self.outcome)
        return Standing("ended", self._until or self._since, None, self._spent(now), 0.0, self.outcome)

    def _settle(self, *, ended: bool = False) -> None:
        """Add the cost of the container to the total if the container has ended."""
        now = self._clock()
        if ended or (self._until is not None and now >= self._until):
            self._before, self._alive = self._spent(now), None

    def _spent(self, now: float) -> float | None:
        if self._alive is None or self._before is None:
            return self._before
        end = now if self._doing or self._until is None else min(now, self._until)
        return None if self._hourly is None else self._before + self._hourly * max(0.0, end - self._alive) / 3600
