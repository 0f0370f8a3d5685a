"""■ while a cell is ours: a message in the inbox, from the magic's first line to its last. Light to import."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from typing_extensions import Self

Inbox = queue.SimpleQueue[tuple[str, Any]]
"""What happens to a run, in order: `(kind, body)`."""
_ASKING = threading.Event()
"""Set while the main thread waits for an answer of the person there, and for nothing else."""


def press(inbox: Inbox) -> None:
    """What ■ does to the run with this inbox, from any thread."""
    if _ASKING.is_set():
        os.kill(os.getpid(), signal.SIGINT)
    else:
        inbox.put(("press", None))


class Presses:
    """■ as a message instead of an exception: nothing of ours is torn, no import left half done, no event lost.

    `inbox` gets `("press", None)` for each. Outside the main thread nothing is changed.
    """

    def __init__(self) -> None:
        self.inbox: Inbox = Inbox()
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _pressed(self, _number: int, _frame: FrameType | None) -> None:
        self.inbox.put(("press", None))  # SimpleQueue.put is safe in a signal handler


class HeldPress:
    """■ waits while this is entered, and is told in `pressed`; a second one does not wait.

    For what is short and must not be torn: a call that has been sent, and whose id has not come, cannot be cancelled.
    Where ■ is no KeyboardInterrupt to begin with, and outside the main thread, nothing is changed.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._held = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._held = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            if self._held:
                signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While somebody is asked, ■ is a KeyboardInterrupt as always: `input()` waits for nothing else."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:  # a press raises from the swap on, at any line: what undoes the swap surrounds the swap, twice
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _ASKING.set()
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    finally:
        signal.signal(signal.SIGINT, before)
        _ASKING.clear()
