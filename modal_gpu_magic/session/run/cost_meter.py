"""What a session's container does and what its containers have cost so far, for whoever looks on beside the cells."""

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
    """How a session stands. Times are seconds since the epoch.

    Attributes:
        doing: the phase of a cell that runs; else `idle` while its container waits for one, `ended` without one.
        since: when that began.
        idle_until: when an idle container goes; None: it does not idle.
        spent: USD of its containers so far, an estimate; None: the price is not known.
        hourly: USD an hour that adds to it now; None: not known.
        outcome: how the last cell ended, `done`, `failed` and so on; empty while one runs, and before the first.
    """

    doing: Doing
    since: float
    idle_until: float | None
    spent: float | None
    hourly: float | None
    outcome: str = ""


class Meter:
    """Counts one session. `clock` gives seconds since the epoch."""

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
        """A cell begins, on a machine of that price."""
        self._settle()
        self._doing, self._since, self._until, self._hourly = "connecting", self._clock(), None, hourly
        self.outcome = ""

    def enters(self, phase: Phase) -> None:
        """The cell enters this phase; nothing where none runs."""
        if self._doing not in (None, phase):
            self._doing, self._since = phase, self._clock()

    def lives(self, since: float) -> None:
        """The container is there, since then at the latest."""
        if self._alive is None:
            self._alive = since

    def ran(self, idle_until: float | None) -> None:
        """The cell is over; the container idles until then, or is gone."""
        self._doing, self._since, self._until = None, self._clock(), idle_until
        if idle_until is None:
            self.ends()

    def ends(self) -> None:
        """The container has ended."""
        self._settle(gone=True)
        self._doing, self._since, self._until = None, self._clock(), None

    @property
    def standing(self) -> Standing:
        """How the session stands now."""
        now = self._clock()
        if self._doing is not None:
            return Standing(self._doing, self._since, None, self._spent(now), self._hourly if self._alive else 0.0)
        if self._until is not None and now < self._until:
            return Standing("idle", self._since, self._until, self._spent(now), self._hourly, self.outcome)
        return Standing("ended", self._until or self._since, None, self._spent(now), 0.0, self.outcome)

    def _settle(self, *, gone: bool = False) -> None:
        """Put what a container has cost behind us, if it has gone."""
        now = self._clock()
        if gone or (self._until is not None and now >= self._until):
            self._before, self._alive = self._spent(now), None

    def _spent(self, now: float) -> float | None:
        if self._alive is None or self._before is None:
            return self._before
        end = now if self._doing or self._until is None else min(now, self._until)
        return None if self._hourly is None else self._before + self._hourly * max(0.0, end - self._alive) / 3600
