"""Write the end of runs' logs beside their answers, so that no answer and no next cell waits for the disk."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Final

from modal_gpu_magic.container.output.run_log import RunLog
from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.wire.messages.events import Answer

PAUSE_SECONDS: Final = 0.1
"""Seconds from the end of a run to the end of its log, unless the next run begins before."""


@dataclass(frozen=True, slots=True)
class _Ended:
    record: RunLog
    answer: Answer
    owner: str
    at: float


class LogClosing:
    """The log of the last run, from the end of the run until the end of the log is written.

    A short run has no file until then. If the kernel that sent the run sends the next one, it has seen the answer of
    the first, and a kernel that attaches is shown the later one: then the log of the first is not written.
    """

    def __init__(self) -> None:
        self._ended: _Ended | None = None
        self._last: RunLog | None = None
        self._is_idle = False
        """The thread waits for a run, and not for the end of a pause: between short cells, nothing wakes it."""
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def close(self, record: RunLog, answer: Answer, owner: str) -> None:
        """Close the log of a run soon.

        Args:
            record: the log.
            answer: how the run ended.
            owner: the claim of the kernel that has sent the run.
        """
        self.finish()
        with self._changed:
            self._ended = _Ended(record, answer, owner, monotonic())
            if self._is_idle:
                self._changed.notify_all()
        self._start()
        if self._thread is None:
            self.finish()

    def begins(self, owner: str) -> None:
        """Make way for the next run, which the kernel of a claim has sent."""
        if owner:
            self._start()  # before the cell, which may start all threads that there may be
        with self._changed:
            if self._ended is not None and self._ended.owner == owner and self._ended.record.is_unwritten:
                self._ended = None
        self.finish()

    def _start(self) -> None:
        if self._thread is None:
            with contextlib.suppress(RuntimeError):
                self._thread = daemon("modal-gpu-log-end", self._run)

    def finish(self, seconds: float = 0.0) -> None:
        """Write the end of the log now, if it is not written; wait so many seconds until the Volume has it."""
        with self._changed:
            ended, self._ended = self._ended, None
            if ended is not None:
                self._last = ended.record
                self._last.close(ended.answer)
        if seconds and self._last is not None:
            self._last.wait(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_idle = True
                self._changed.wait_for(lambda: self._ended is not None)
                self._is_idle, ended = False, self._ended
                left = ended.at + PAUSE_SECONDS - monotonic() if ended is not None else 0.0
                if left > 0:
                    self._changed.wait(left)
                    continue
            self.finish()
