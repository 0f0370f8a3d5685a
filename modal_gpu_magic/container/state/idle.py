"""Work between two cells, in a thread that a cell interrupts: to load the rest of a saved state, and to save the state.

A cell and this work exclude each other. The work looks between two of its steps whether a cell waits, and ends at once.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.container.state.saving import Interrupted

if TYPE_CHECKING:
    from modal_gpu_magic.container.state.saving import Check

After = Callable[[], object] | None
"""What remains to be done when cells may run again: the Volume's commit."""


class IdleWork:
    """Runs jobs while no cell runs. Each job runs once between two cells.

    Args:
        jobs: pairs of the seconds that no cell has run, and a job; in order.
    """

    def __init__(self, jobs: tuple[tuple[float, Callable[[Check], After]], ...]) -> None:
        self._jobs = jobs
        self._changed = threading.Condition()
        self._lock = threading.Lock()
        """A cell holds this lock, or the job that runs."""
        self._cells = 0
        """Cells that run or wait."""
        self._since: float | None = None
        """Since when no cell has run; None: no cell has run yet."""
        self._done = 0
        """Jobs that have run since the last cell."""
        self._wakes_at = math.inf
        """When the thread looks next, by itself, seconds of the monotonic clock; inf: when it is woken."""
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Interrupt the present job, and keep jobs from running inside the block."""
        with self._changed:
            self._cells += 1
            if self._thread is None:  # before the cell, which may start all threads that there may be
                self._thread = daemon("modal-gpu-idle", self._run)
        try:
            with self._lock:
                yield
        finally:
            with self._changed:
                self._cells -= 1
                self._since, self._done = time.monotonic(), 0
                if self._jobs and self._since + self._jobs[0][0] < self._wakes_at:  # to wake it takes 0.1 ms
                    self._changed.notify()

    def check(self) -> None:
        """Raise if a cell waits.

        Raises:
            Interrupted: one does.
        """
        if self._cells:
            raise Interrupted

    def _run(self) -> None:
        while True:
            after: After = None
            job = self._next()
            with contextlib.suppress(Interrupted), self._lock:
                self.check()
                try:
                    after = job(self.check)
                except Interrupted:
                    raise
                except BaseException:  # noqa: BLE001, S110 - a user's `__reduce__` may raise anything, as `SystemExit`
                    pass  # a job that fails is not tried again before the next cell
                with self._changed:
                    self._done += 1
            if after is not None:
                with contextlib.suppress(BaseException):
                    after()

    def _next(self) -> Callable[[Check], After]:
        """Wait for the time of the next job."""
        with self._changed:
            while True:
                wait = None
                if not self._cells and self._since is not None and self._done < len(self._jobs):
                    seconds, job = self._jobs[self._done]
                    wait = self._since + seconds - time.monotonic()
                    if wait <= 0:
                        return job
                self._wakes_at = math.inf if wait is None else time.monotonic() + wait
                self._changed.wait(wait)
