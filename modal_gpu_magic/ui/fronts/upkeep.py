"""Keep a shown receipt true: its container is used again, or ends, or the reader's time zone becomes known."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.ui.fronts.receipt import Container
from modal_gpu_magic.ui.widgets.reader import READER

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.ui.fronts.shell import ShellFront

AFTER_IDLE_SECONDS = 1.0
"""Seconds after the latest end of an idle container until the receipt says that the container has ended."""


def keep_true(front: ShellFront, session: Session) -> None:
    """Update a run's receipt until the session's container is used again or has ended."""
    if front.container.state == "idle" and front.container.at is not None:
        _Upkeep(front, session, front.container.at)


class _Upkeep:
    """Updates one receipt. The session calls from any thread."""

    def __init__(self, front: ShellFront, session: Session, until: float) -> None:
        self._front, self._session, self._until = front, session, until
        self._context = contextvars.copy_context()  # ipykernel 7 finds the cell of a publication in it
        self._lock = threading.Lock()
        self._timer = threading.Timer(max(0.0, until - time.time()) + AFTER_IDLE_SECONDS, self._expire)
        self._timer.daemon = True
        self._ends: list[Callable[[], None]] = [
            session.metrics.watch(self._look),
            READER.watch(self._draw),
            self._timer.cancel,
        ]
        self._timer.start()
        if front.zone != READER.zone:  # the zone became known while the receipt was shown
            self._draw()

    def _look(self, reading: Reading | None) -> None:
        if reading is not None:
            return
        standing = self._session.status.standing
        if standing.doing != "idle":
            self._settle(Container("ended" if standing.doing == "ended" else "reused", standing.since))

    def _expire(self) -> None:
        self._settle(Container("ended", self._until))

    def _settle(self, container: Container) -> None:
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            end()
        if ends:
            self._draw(container)

    def _draw(self, container: Container | None = None) -> None:
        self._context.copy().run(self._front.update, container)
