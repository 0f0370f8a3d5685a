"""Stop a cell on ■ or at its timeout: raise KeyboardInterrupt in user code and nowhere else.

Modal cancels an input by SIGUSR1 and raises at the main thread's current line; IPython swallows that exception, and an
exception in this package's code would leave its state inconsistent. So this module handles the signal while a cell
runs. The exception waits until each function of this package has returned, except functions marked `interruptible`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.container.process.output_owner import daemon

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

    from typing_extensions import Self

PRESS, STRIKE = signal.SIGUSR1, signal.SIGINT
"""■ arrives as Modal's SIGUSR1. This package, or user code, sends SIGINT to interrupt the main thread without ■."""
RETRY_SECONDS = 0.002
"""Seconds between two attempts to raise a pending exception."""
LINE_SECONDS = 0.05
"""Seconds that an exception may wait for the end of an output line."""
PACKAGE_PREFIXES = ("modal_gpu_magic.container.", "modal_gpu_magic.wire.")
"""Prefixes of the modules of this package that run in the container."""

_interruptible: set[CodeType] = set()
_waiting: list[tuple[Interrupt, float]] = []
"""The interrupt whose exception is pending, and the time since when (monotonic, seconds). At most one item."""
_held: list[Interrupt] = []
"""The interrupts that handle signals now."""
_F = TypeVar("_F", bound=Callable[..., Any])


def interruptible(function: _F) -> _F:
    """Mark `function` as a safe place to raise KeyboardInterrupt: the function only waits, or calls user code."""
    _interruptible.add(function.__code__)
    return function


def is_ours(frame: FrameType) -> bool:
    """Whether a frame runs code of this package."""
    return str(frame.f_globals.get("__name__", "")).startswith(PACKAGE_PREFIXES)


@interruptible
def checkpoint(*, whole: bool = True) -> None:
    """Raise a pending KeyboardInterrupt. Functions that user code calls often (a write, a display) end with this call.

    Such a function releases the GIL in a system call, so without a checkpoint the signal could arrive in the function
    every time and the exception would never be raised. `whole`: the output line is complete; `print` writes its text
    and its newline separately.

    Raises:
        KeyboardInterrupt: an exception was pending, and user code called the caller.
    """
    if not _waiting or threading.current_thread() is not threading.main_thread():
        return
    interrupt, since = _waiting[0]
    if (whole or time.monotonic() - since > LINE_SECONDS) and _may_raise(sys._getframe(2)):  # noqa: SLF001
        interrupt.raise_waiting()


class Interrupt:
    """Handles the stop signals during a run.

    Args:
        on_press: called when a ■ arrives, in any thread, also while the main thread is in a long C call; perhaps twice.

    Attributes:
        asked: the user pressed ■.
        timed_out: the watchdog's time is over.
        over: the budget that gave this time; empty: the timeout did.
    """

    def __init__(self, on_press: Callable[[], object] = lambda: None) -> None:
        self._on_press = on_press
        self.asked = False
        self.timed_out = False
        self.over = ""
        self._open = self._held = self._is_retrying = False
        self._lock = threading.Lock()
        self._again = _retries()
        self._before: dict[signal.Signals, Any] = {}
        self._hook_before: Callable[[Any], object] = sys.__unraisablehook__
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        try:  # until these handlers are set, a signal raises here, at any line
            for number in (PRESS, STRIKE):
                self._before[number] = signal.getsignal(number)
                signal.signal(number, self._pressed)
        except BaseException:
            self._restore_handlers()
            raise
        _held.append(self)
        self._wakeup_before = signal.set_wakeup_fd(_arrivals(), warn_on_full_buffer=False)
        self._hook_before = getattr(sys, "unraisablehook", sys.__unraisablehook__)  # a cell may have deleted it
        sys.unraisablehook = self._ignored
        self._held = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # a signal that is being sent still reaches this handler, not the next one
            self._held = False
        _waiting.clear()
        signal.set_wakeup_fd(self._wakeup_before)
        _held.remove(self)
        if getattr(sys, "unraisablehook", None) == self._ignored:  # else the user's code has set another one
            sys.unraisablehook = self._hook_before
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        """Set the former handlers. Modal's raises at any line once it is set, and so does Python's of SIGINT."""
        try:
            self._restore(STRIKE)
            self._restore(PRESS)
        finally:
            self._restore(PRESS)

    def _restore(self, number: signal.Signals) -> None:
        if number in self._before:
            signal.signal(number, self._before[number])

    @contextlib.contextmanager
    def window(self) -> Iterator[None]:
        """User code runs inside this context.

        Raises:
            KeyboardInterrupt: the user pressed ■ before or while user code ran.
        """
        self._open = True
        try:
            if self.asked or self.timed_out:
                raise KeyboardInterrupt
            yield
        finally:
            self._open = False
            _waiting.clear()

    def notice(self) -> None:
        """Report that a ■ has arrived."""
        self._on_press()

    def expire(self, over: str = "") -> None:
        """Interrupt user code as ■ does, at the timeout, or at the budget `over`.

        Any thread may call this; after the run it has no effect.
        """
        if self._held and not self.timed_out:
            self.over = over
        self.timed_out = self.timed_out or self._held
        self._wait()
        self.strike()

    def raise_waiting(self) -> None:
        """Raise the pending exception, in the main thread.

        Raises:
            KeyboardInterrupt: user code runs.
        """
        _waiting.clear()
        if self._open:
            raise KeyboardInterrupt

    def strike(self) -> None:
        """Signal the main thread to try to raise the pending exception. After the run this has no effect."""
        with self._lock:
            if self._held and _waiting:
                self._is_retrying = True
                signal.pthread_kill(threading.main_thread().ident or 0, STRIKE)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        is_retry, self._is_retrying = self._is_retrying and number == STRIKE, False
        if number == PRESS:
            self.asked = True
            self.notice()
        if not self._open or (is_retry and not _waiting):  # a checkpoint has already raised the exception
            return
        if _may_raise(frame):
            self.raise_waiting()
        self._wait()
        self._again.put(self)

    def _ignored(self, args: sys.UnraisableHookArgs) -> None:
        """Raise again what Python has ignored: a callback of a fork, a `__del__` or a weak reference raises nothing."""
        if self._open and issubclass(args.exc_type, KeyboardInterrupt):
            self._wait()
            self._again.put(self)
        else:
            self._hook_before(args)

    def _wait(self) -> None:
        if self._open and not _waiting:
            _waiting.append((self, time.monotonic()))


@functools.cache
def _arrivals() -> int:
    """Return a descriptor to which Python writes the number of each signal as the signal arrives.

    Python runs a handler on the main thread once a C call has returned; a thread reads of ■ meanwhile. The numbers of
    forked children's signals are written as well: ■ is sent to no child.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def run() -> None:
        while True:
            if PRESS in os.read(reading, 64):
                _notify(tuple(_held))

    daemon("modal-gpu-signals", run)
    return writing


def _notify(interrupts: tuple[Interrupt, ...]) -> None:
    """Report to interrupts that a ■ has arrived, unless the cell has blocked the signal and never unblocks it.

    A signal is blocked for a moment, too, while Python notes its arrival: on a busy machine, that moment is long.
    """
    while _is_blocked(PRESS):
        if not any(each in _held for each in interrupts):
            return
        time.sleep(RETRY_SECONDS)
    for interrupt in interrupts:
        interrupt.notice()


def _is_blocked(number: signal.Signals) -> bool:
    """Whether a signal is blocked in the main thread, which then does not run its handler. Unknown: false."""
    status = Path(f"/proc/self/task/{threading.main_thread().native_id}/status")
    with suppress(OSError):
        found = re.search(r"^SigBlk:\s*([0-9a-f]+)", status.read_text(), re.MULTILINE)
        return found is not None and bool(int(found[1], 16) & 1 << number - 1)
    return False


@functools.cache
def _retries() -> queue.SimpleQueue[Interrupt]:
    """Return the queue of interrupts to retry. One thread serves all: a signal handler must not start a thread."""
    waiting: queue.SimpleQueue[Interrupt] = queue.SimpleQueue()

    def run() -> None:
        while True:
            interrupt = waiting.get()
            time.sleep(RETRY_SECONDS)
            interrupt.strike()

    daemon("modal-gpu-interrupt", run)
    return waiting


def _may_raise(frame: FrameType | None) -> bool:
    """Whether the innermost function of this package on the stack, if any, is marked `interruptible`."""
    while frame is not None and not is_ours(frame):
        frame = frame.f_back
    return frame is None or frame.f_code in _interruptible
