"""Ask Modal how many containers a service has while some may run: calls alone do not say how many they started."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.session.service.usage import Usage

SOON_SECONDS: Final = 0.5
"""Time from the begin or the end of a call to the next question: containers start and end with calls."""
LATER_SECONDS: Final = 2.0
"""Time between two questions while no call begins or ends."""


class ContainerCounts:
    """Keeps the number of containers in `usage` true, from a thread that ends when none of them can run any more.

    Args:
        usage: the run time of the service's containers.
        read: returns the number of running containers; None: Modal gives no answer. It may take a round trip.
        counted: is called after each answer.
    """

    def __init__(self, usage: Usage, read: Callable[[], int | None], counted: Callable[[], None]) -> None:
        self._usage, self._read, self._counted = usage, read, counted
        self._is_asking = False
        self._news, self._closing = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def note(self) -> None:
        """Ask soon: a call has begun or ended."""
        self._news.set()
        with self._lock:
            if self._is_asking or self._closing.is_set():
                return
            self._is_asking = True
        threading.Thread(target=self._ask, name="modal-gpu-containers", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        self._news.set()

    def _ask(self) -> None:
        while self._goes_on():
            if self._news.wait(LATER_SECONDS):
                self._closing.wait(SOON_SECONDS)
                self._news.clear()
            count = None if self._closing.is_set() else self._read()
            if count is not None:
                self._usage.seen(count)
                self._counted()

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_asking = not self._closing.is_set() and self._usage.may_run
            return self._is_asking
