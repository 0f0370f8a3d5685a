"""Estimate the run time of a service's containers from its calls and from Modal's container counts."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Usage:
    """Estimates container-seconds: a container runs during a call and for the idle time after the call.

    Args:
        window: idle time of a container, seconds.
        least: number of containers that always run.
        clock: returns monotonic seconds.
        alive_since: when the first container began, by that clock, if one has started; its idle time has begun now.
        exits: seconds that a container takes to end.
    """

    def __init__(
        self,
        window: int,
        least: int = 0,
        clock: Callable[[], float] = time.monotonic,
        alive_since: float | None = None,
        exits: float = 0.0,
    ) -> None:
        self._window, self._least, self._clock, self._exits = window, least, clock, exits
        self.on_change: Callable[[], None] = lambda: None
        """Called when a call has begun or ended, from its thread."""
        self._containers = max(1, least)
        self._lock = threading.Lock()
        self._running = 0
        self._has_ended = False
        self._seconds = 0.0
        self._since = self._warm_until = clock()
        if alive_since is not None:
            self._seconds, self._warm_until = self._since - alive_since, self._since + window

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Count a call as running inside the block."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def seen(self, containers: int) -> None:
        """Set the number of running containers, as counted by Modal."""
        with self._lock:
            self._settle()
            self._containers = containers

    def end(self) -> None:
        """Record the end of all containers, once."""
        with self._lock:
            if self._has_ended:
                return
            self._settle()
            alive = self._containers if self._running or self._since < self._warm_until else self._least
            self._seconds += alive * self._exits
            self._least, self._running, self._warm_until = 0, 0, self._since
            self._has_ended = True

    @property
    def seconds(self) -> float:
        """Container-seconds so far."""
        with self._lock:
            self._settle()
            return self._seconds

    @property
    def is_in_use(self) -> bool:
        """Whether a call runs."""
        return self._running > 0

    @property
    def may_run(self) -> bool:
        """Whether more containers may run than those that always do: a call runs, or its idle time has not ended."""
        return self.ends_in > 0

    @property
    def alive(self) -> int:
        """Containers that run now."""
        with self._lock:
            self._settle()
            return self._containers if self._running or self._since < self._warm_until else self._least

    @property
    def ends_in(self) -> float:
        """Seconds from now to the end of the idle time, if no other call comes; a call counts as ending now."""
        with self._lock:
            self._settle()
            return self._window if self._running else max(0.0, self._warm_until - self._since)

    def _count(self, step: int) -> None:
        with self._lock:
            if self._has_ended:  # a call that ran when the service was stopped ends after that
                return
            self._settle()
            if step > 0 and self._since >= self._warm_until:
                self._containers = max(1, self._least)  # a call starts a container; Modal's next count says how many
            self._running += step
            self._warm_until = self._since + self._window
        self.on_change()

    def _settle(self) -> None:
        now = self._clock()
        alive_until = now if self._running else min(now, self._warm_until)
        warm = max(0.0, alive_until - self._since)
        self._seconds += warm * self._containers + (now - self._since - warm) * self._least
        self._since = now
