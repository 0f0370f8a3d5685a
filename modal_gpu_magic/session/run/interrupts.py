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
_RAISING = threading.Event()
"""Set while ■ raises KeyboardInterrupt in the main thread: it waits for an answer, or reads the user's values."""
_WHOLE = frozenset({"_ended", "_give_up", "_get_or_create_tracker_id"})
"""Functions that must not be torn while values are read: the identity table's, and cloudpickle's (3.1 tested), which
notes the id of a class in two tables; a class with an entry in one of them comes home as another class."""
_IMPORTING = "<frozen importlib._bootstrap>"


def stopped(words: str) -> KeyboardInterrupt:
    """KeyboardInterrupt that IPython shows as one line, without frames of ours."""
    error = KeyboardInterrupt(words)
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {words}"]  # type: ignore[attr-defined]  # IPython's own hook for such errors
    return error


def in_one_line(error: KeyboardInterrupt) -> KeyboardInterrupt:
    """The error itself if it renders its own traceback, as a cell's does; else one of one line."""
    return error if hasattr(error, "_render_traceback_") else stopped(str(error) or "stopped before the cell began")


def was_pressed(inbox: Inbox) -> bool:
    """Whether ■ waits in an inbox. What else is there is out of date and goes."""
    found = False
    with contextlib.suppress(queue.Empty):
        while True:
            found = inbox.get_nowait()[0] == "press" or found
    return found


def press(inbox: Inbox) -> None:
    """What ■ does to the run with this inbox, from any thread."""
    if _RAISING.is_set():
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
            _RAISING.set()
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    finally:
        signal.signal(signal.SIGINT, before)
        _RAISING.clear()


class Reading:
    """While the user's values are read, ■ raises KeyboardInterrupt: `__reduce__` of a class may take for ever.

    Nothing is changed by reading, so reading may end anywhere, but for a few functions: there the press is a message,
    which counts at the end of the block. Outside the main thread every press is a message.

    Raises:
        KeyboardInterrupt: ■ was pressed before, or in, the block; the cell has not been sent.
    """

    def __init__(self, inbox: Inbox, words: str = "stopped before the cell was sent; the cell did not run") -> None:
        self.inbox, self.words = inbox, words
        self._open = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if was_pressed(self.inbox):
            raise stopped(self.words)
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._pressed)
            self._open = True
            _RAISING.set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        _RAISING.clear()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if kind is KeyboardInterrupt or (kind is None and was_pressed(self.inbox)):
            raise stopped(self.words) from None

    def _pressed(self, _number: int, frame: FrameType | None) -> None:
        if not self._open or _is_whole(frame):
            self.inbox.put(("press", None))
            return
        self._open = False
        raise KeyboardInterrupt


def _is_whole(frame: FrameType | None) -> bool:
    """Whether a function is on the stack that must not be torn, or an import."""
    while frame is not None:
        if frame.f_code.co_name in _WHOLE or frame.f_code.co_filename == _IMPORTING:
            return True
        if frame.f_code is Reading.__enter__.__code__ or frame.f_code is Reading.__exit__.__code__:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """What is written into the user's objects is written as a whole: ■ waits until the end of the block.

    Where ■ is no KeyboardInterrupt to begin with, and outside the main thread, nothing is changed.

    Raises:
        KeyboardInterrupt: ■ was pressed in the block.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
