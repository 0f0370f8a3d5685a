"""Announce the runs of a detached session beside them: a short run does not wait for its announcement."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_SECONDS: Final = 0.1
"""Seconds from the spawn of a run until its announcement, which names all runs since the one before."""
AGAIN_SECONDS: Final = 2.0
"""Seconds until an announcement that has failed is tried again."""

CLOSE_SECONDS: Final = 2.0
"""Seconds that the last announcement may take when the App is closed."""


class Announcing:
    """Writes the list of runs soon after a run was spawned, and starts what only a longer run needs.

    A kernel that ends before leaves a run that is found by its log.

    Args:
        write: writes the list.
    """

    def __init__(self, write: Callable[[], object]) -> None:
        self._write = write
        self._jobs: list[Callable[[], object]] = []
        self._due: float | None = None
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def soon(self, job: Callable[[], object] = lambda: None) -> None:
        """Write the list soon, and call `job` then."""
        with self._changed:
            self._jobs.append(job)
            if self._due is not None:
                return
            self._due = time.monotonic() + PAUSE_SECONDS
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="modal-gpu-announce", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; what is to be written is written before."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (left := self._left()) > 0:
                    self._changed.wait(left if left < threading.TIMEOUT_MAX else None)
                is_due, self._due = self._due is not None, None
                jobs, self._jobs = self._jobs, []
            for job in jobs:
                job()
            if is_due:
                self._try_to_write()
            if self._is_closed:
                return

    def _left(self) -> float:
        return float("inf") if self._due is None else self._due - time.monotonic()

    def _try_to_write(self) -> None:
        try:
            self._write()
        except Exception:  # noqa: BLE001 - until the next attempt, the logs show what was sent
            with self._changed:
                self._due = self._due or time.monotonic() + AGAIN_SECONDS
