"""■ and the cell's timeout, in the container: KeyboardInterrupt, raised in user code and nowhere else.

Modal cancels an input by SIGUSR1 and raises wherever the main thread stands; IPython swallows that exception, and our
own code must not be torn. So the signal is ours while a cell runs, and what it may not interrupt it waits for: a
function of ours is left alone until it returns, unless it says that it can bear it.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.container.process.output_owner import daemon

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

    from typing_extensions import Self

PRESS, STRIKE = signal.SIGUSR1, signal.SIGINT
"""■ arrives as Modal's SIGUSR1; SIGINT is how we, or user code itself, interrupt the main thread without a press."""
RETRY_SECONDS = 0.002
LINE_SECONDS = 0.05
"""How long an exception may wait for the end of a line."""
OURS = ("modal_gpu_magic.container.", "modal_gpu_magic.wire.")

_bearable: set[CodeType] = set()
_waiting: list[tuple[Interrupt, float]] = []
"""The run whose exception waits for a function of ours to end, if there is one, and since when."""
_F = TypeVar("_F", bound=Callable[..., Any])


def interruptible(function: _F) -> _F:
    """Say that KeyboardInterrupt may be raised in `function` of ours: it waits, or user code runs above it."""
    _bearable.add(function.__code__)
    return function


def is_ours(frame: FrameType) -> bool:
    """Whether a frame runs code of this package's far side."""
    return str(frame.f_globals.get("__name__", "")).startswith(OURS)


@interruptible
def checkpoint(*, whole: bool = True) -> None:
    """The last statement of what user code calls all the time (a write, a display).

    Such a call gives the interpreter up in a system call of ours, so without this a loop of them could be struck there
    again and again and nowhere else. `whole`: a line is complete; `print` writes its text and its newline one by one.

    Raises:
        KeyboardInterrupt: it had to wait, and user code called the caller.
    """
    if not _waiting or threading.current_thread() is not threading.main_thread():
        return
    interrupt, since = _waiting[0]
    if (whole or time.monotonic() - since > LINE_SECONDS) and _may_raise(sys._getframe(2)):  # noqa: SLF001
        interrupt.raise_waiting()


class Interrupt:
    """Holds the signals for the length of a run. `asked`: ■ was pressed. `timed_out`: the watchdog's time is over."""

    def __init__(self) -> None:
        self.asked = False
        self.timed_out = False
        self._open = self._held = self._striking = False
        self._lock = threading.Lock()
        self._again = _retries()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (PRESS, STRIKE):
            self._before[number] = signal.signal(number, self._pressed)
        self._held = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # a strike that was under way hits our handler still, not whose turn it is next
            self._held = False
        _waiting.clear()
        for number, handler in reversed(self._before.items()):  # Modal's, which raises wherever it strikes, comes last
            signal.signal(number, handler)

    @contextlib.contextmanager
    def window(self) -> Iterator[None]:
        """User code runs in here.

        Raises:
            KeyboardInterrupt: ■ was pressed before, or while, user code ran.
        """
        self._open = True
        try:
            if self.asked or self.timed_out:
                raise KeyboardInterrupt
            yield
        finally:
            self._open = False
            _waiting.clear()

    def expire(self) -> None:
        """The cell's time is up: user code is interrupted as by ■. From any thread; after the run it does nothing."""
        self.timed_out = self.timed_out or self._held
        self._wait()
        self.strike()

    def raise_waiting(self) -> None:
        """Raise what had to wait, in the main thread.

        Raises:
            KeyboardInterrupt: user code runs.
        """
        _waiting.clear()
        if self._open:
            raise KeyboardInterrupt

    def strike(self) -> None:
        """Make the main thread look again whether it may raise what waits. After the run it does nothing."""
        with self._lock:
            if self._held and _waiting:
                self._striking = True
                signal.pthread_kill(threading.main_thread().ident or 0, STRIKE)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        ours, self._striking = self._striking and number == STRIKE, False
        if number == PRESS:
            self.asked = True
        if not self._open or (ours and not _waiting):  # a checkpoint was faster
            return
        if _may_raise(frame):
            self.raise_waiting()
        self._wait()
        self._again.put(self)

    def _wait(self) -> None:
        if self._open and not _waiting:
            _waiting.append((self, time.monotonic()))


@functools.cache
def _retries() -> queue.SimpleQueue[Interrupt]:
    """Interrupts put in here strike again in a moment. One thread for all: a signal handler must not start one."""
    waiting: queue.SimpleQueue[Interrupt] = queue.SimpleQueue()

    def run() -> None:
        while True:
            interrupt = waiting.get()
            time.sleep(RETRY_SECONDS)
            interrupt.strike()

    daemon("modal-gpu-interrupt", run)
    return waiting


def _may_raise(frame: FrameType | None) -> bool:
    """Whether the innermost function of ours on the stack, if there is one, can bear it."""
    while frame is not None and not is_ours(frame):
        frame = frame.f_back
    return frame is None or frame.f_code in _bearable
