"""Keep a shown receipt true: its container is used again, or ends, or the reader's time zone becomes known."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.ui.fronts.receipt import Container
from modal_gpu_magic.ui.widgets.reader import READER

if TYPE_CHECKING:
    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.ui.fronts.shell import ShellFront

AFTER_IDLE_SECONDS = 1.0
"""Seconds after the latest end of an idle container until the receipt says that the container has ended."""
AFTER_USE_SECONDS = 0.05
"""Seconds after which the receipt says that the container is used again: the cell that uses it goes first."""


def keep_true(front: ShellFront, session: Session) -> None:
    """Update a run's receipt until the session's container is used again or has ended."""
    if front.container.state == "idle" and front.container.at is not None:
        _Upkeep(front, session, front.container.at)


class _Upkeep:
    """Updates one receipt, in a thread of its own. The session calls from any thread."""

    def __init__(self, front: ShellFront, session: Session, until: float) -> None:
        self._front, self._session, self._until = front, session, until
        self._context = contextvars.copy_context()  # ipykernel 7 finds the cell of a publication in it
        self._news: queue.SimpleQueue[Container] = queue.SimpleQueue()
        self._ends = [session.metrics.watch(self._look), READER.watch(self._draw)]
        threading.Thread(target=self._wait, daemon=True, name="modal-gpu-receipt").start()
        if front.zone != READER.zone:  # the zone became known while the receipt was shown
            self._draw()

    def _look(self, reading: Reading | None) -> None:
        if reading is not None:
            return
        standing = self._session.status.standing
        if standing.doing != "idle":
            self._news.put(Container("ended" if standing.doing == "ended" else "reused", standing.since))

    def _wait(self) -> None:
        """Wait until the container is used again or has ended, and draw the receipt a last time."""
        try:
            container = self._news.get(timeout=max(0.0, self._until - time.time()) + AFTER_IDLE_SECONDS)
            time.sleep(AFTER_USE_SECONDS)
        except queue.Empty:
            container = Container("ended", self._until)
        for end in self._ends:
            end()
        with contextlib.suppress(Exception):  # the kernel ends, and takes no message any more
            self._draw(container)

    def _draw(self, container: Container | None = None) -> None:
        self._context.copy().run(self._front.update, container)
