"""Handle ■ (SIGINT) during a remote cell: a press becomes a message in the inbox."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any, ParamSpec

from modal_gpu_magic.errors import shown_alone
from modal_gpu_magic.wire.values.own_code import stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

    from typing_extensions import Self

Inbox = queue.SimpleQueue[tuple[str, Any]]
"""Messages of a run, in order: `(kind, body)`."""


class SeparateInbox(Inbox):
    """The messages of a run for which the main thread does not wait: a press does not interrupt that thread."""


P = ParamSpec("P")
_RAISING = threading.Event()
"""Set while ■ raises KeyboardInterrupt: the main thread waits for `input()` or reads the user's values."""
_WHOLE = frozenset({"_ended", "_give_up", "_get_or_create_tracker_id"})
"""Functions that KeyboardInterrupt must not interrupt: the identity table's, and cloudpickle's (3.1 tested), which adds
a class to two tables. A class with an entry in only one of them is returned as another class."""
_IMPORTING = "<frozen importlib._bootstrap>"


def stopped(words: str) -> KeyboardInterrupt:
    """A KeyboardInterrupt that IPython shows as one line, without frames of this package."""
    return stopping(shown_alone(KeyboardInterrupt(words)))


NOT_BEGUN = "stopped before the cell began"
"""Words for a press of ■ before the run of a cell."""


@contextlib.contextmanager
def in_one_line(words: str = NOT_BEGUN) -> Iterator[None]:
    """Show a press of ■ in the block as one line, unless it renders its own traceback, as a cell's error does.

    Args:
        words: what the line says about a press that says nothing itself.

    Raises:
        KeyboardInterrupt: ■ was pressed.
    """
    try:
        yield
    except (KeyboardInterrupt, RuntimeError) as error:
        press = _press_in(error)
        if press is None or hasattr(press, "_render_traceback_"):
            raise
        raise stopped(str(press) or words) from None


def _press_in(error: BaseException) -> BaseException | None:
    """The press of ■ that an error stands for; None: the error has another cause.

    Before Python 3.12, a press during `__set_name__`, which a class with fields calls at its import, is the cause of a
    RuntimeError.
    """
    found = error.__cause__ if isinstance(error, RuntimeError) else error
    return found if isinstance(found, KeyboardInterrupt) else None


def was_pressed(inbox: Inbox) -> bool:
    """Whether the inbox holds a press of ■. Removes all messages: the others are out of date."""
    found = False
    with contextlib.suppress(queue.Empty):
        while True:
            found = inbox.get_nowait()[0] == "press" or found
    return found


def press(inbox: Inbox) -> None:
    """Stop the run of this inbox as ■ does; callable from any thread."""
    if _RAISING.is_set() and not isinstance(inbox, SeparateInbox):
        os.kill(os.getpid(), signal.SIGINT)
    else:
        inbox.put(("press", None))


class Presses:
    """Turns ■ into a message, so that no press interrupts this package's code, an import, or the reading of an event.

    `inbox` gets `("press", None)` for each press. No effect outside the main thread.
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
    """Defers ■ inside the block and records it in `pressed`; a second press raises KeyboardInterrupt at once.

    For short operations that must complete: a sent call cannot be cancelled before its id arrives.
    No effect outside the main thread, or where another handler than Python's default handles SIGINT.
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
            raise stopping(KeyboardInterrupt())
        self.pressed = True


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let ■ raise KeyboardInterrupt inside the block, so that it ends a waiting `input()`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:  # after the handler is replaced, a press raises at any line, also in `finally`: restore the handler twice
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
    """Lets ■ raise KeyboardInterrupt while the user's values are read: a class's `__reduce__` may never return.

    Reading changes nothing, so it may be interrupted anywhere except in a few functions and in imports. In these, and
    outside the main thread, a press is a message that is handled at the end of the block.

    Raises:
        KeyboardInterrupt: ■ was pressed before the block or in it; the cell has not been sent.
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
        raise stopping(KeyboardInterrupt())


def _is_whole(frame: FrameType | None) -> bool:
    """Whether the stack holds an import or a function that must not be interrupted."""
    while frame is not None:
        if frame.f_code.co_name in _WHOLE or frame.f_code.co_filename == _IMPORTING:
            return True
        if frame.f_code is Reading.__enter__.__code__ or frame.f_code is Reading.__exit__.__code__:
            return True
        frame = frame.f_back
    return False


REPEAT_SECONDS = 0.005
"""Seconds after a callback of IPython after which a press during the callback is repeated."""


def callback(function: Callable[P, None]) -> Callable[P, None]:
    """Make a function fit to be a callback of IPython: a press of ■ stops the cell, not the callback.

    IPython catches a KeyboardInterrupt of a callback, prints the frames of the callback, and runs the cell. A press
    during the callback is repeated just after it. A second press stops the callback as well.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> None:
        has_run = is_pressed = False
        while True:
            try:  # the handler of HeldPress is not yet, or no longer, in effect at the first and last lines
                if not has_run:
                    with HeldPress() as held:
                        has_run = True
                        function(*args, **kwargs)
                    is_pressed = is_pressed or held.pressed
                if is_pressed:
                    threading.Timer(REPEAT_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
                return
            except KeyboardInterrupt:  # noqa: PERF203 - the second round has nothing to do but to repeat the press
                is_pressed = True

    return called


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Defer ■ to the end of the block, so that a write into the user's objects is complete.

    No effect outside the main thread, or where another handler than Python's default handles SIGINT.

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
