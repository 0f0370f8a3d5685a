"""Keep a shown receipt true: its container is used again, or ends, or the reader's time zone becomes known."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.alarms import Alarms
from modal_gpu_magic.ui.fronts.receipt import Container
from modal_gpu_magic.ui.widgets.reader import READER

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.ui.fronts.shell import ShellFront

AFTER_IDLE_SECONDS = 1.0
"""Seconds after the latest end of an idle container until the receipt says that the container has ended."""
AFTER_USE_SECONDS = 0.05
"""Seconds after which the receipt says that the container is used again: the cell that uses it goes first."""


def _start(run: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=run, daemon=True, name="modal-gpu-receipt")
    thread.start()
    return thread


_ALARMS: Final = Alarms(_start)


def keep_true(front: ShellFront, session: Session) -> None:
    """Update a run's receipt until the session's container is used again or has ended."""
    if front.container.state == "idle" and front.container.at is not None:
        _Upkeep(front, session, front.container.at)


class _Upkeep:
    """Updates one receipt. The session calls from any thread."""

    def __init__(self, front: ShellFront, session: Session, until: float) -> None:
        self._front, self._session = front, session
        self._context = contextvars.copy_context()  # ipykernel 7 finds the cell of a publication in it
        self._lock = threading.Lock()
        self._is_over = False
        """Whether it is known what became of the container."""
        wait = max(0.0, until - time.time()) + AFTER_IDLE_SECONDS
        self._alarm = _ALARMS.set(wait, partial(self._end, until))
        self._ends = [session.metrics.watch(self._look), READER.watch(self._draw)]
        if front.zone != READER.zone:  # the zone became known while the receipt was shown
            self._draw()

    def _look(self, reading: Reading | None) -> None:
        """Look whether the container is used again or has ended, and draw the receipt a last time soon after."""
        if reading is not None:
            return
        standing = self._session.status.standing
        if standing.doing != "idle" and self._is_news():
            container = Container("ended" if standing.doing == "ended" else "reused", standing.since)
            _ALARMS.cancel(self._alarm)
            _ALARMS.set(AFTER_USE_SECONDS, partial(self._finish, container))

    def _end(self, until: float) -> None:
        """The container's idle time has passed, and no session has said what became of the container."""
        if self._is_news():
            self._finish(Container("ended", until))

    def _is_news(self) -> bool:
        """Note that it is known what became of the container; return whether it was not known before."""
        with self._lock:
            was_over, self._is_over = self._is_over, True
        return not was_over

    def _finish(self, container: Container) -> None:
        """Draw the receipt a last time."""
        for end in self._ends:
            end()
        with contextlib.suppress(Exception):  # the kernel ends, and takes no message any more
            self._draw(container)

    def _draw(self, container: Container | None = None) -> None:
        self._context.copy().run(self._front.update, container)
