"""Which run owns an output: output of a thread or an asyncio task belongs to the run that started it, at any time.

This module only stores owners; any object can stand for a run.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections import deque
from contextvars import ContextVar
from functools import partial
from operator import methodcaller
from traceback import format_exc
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.process.thread_pools import waits_for_work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

NO_RUN: Final[Any] = object()
"""Owner of output that nobody gets."""
_MARK = "_modal_gpu_owner"
fault_logs: Final[list[Callable[[str], object]]] = []
"""What writes the traceback of a thread of this package that has failed."""
_owner: ContextVar[Any] = ContextVar(_MARK, default=None)

claimed: Callable[[], Any] = _owner.get
"""The run that claimed this context, or None. Separate from `owner` because every `print` calls it."""


def claim(run: object) -> None:
    """Make `run` the owner of all output of this context and of every asyncio task created in it."""
    _owner.set(run)


@contextlib.contextmanager
def without_output() -> Iterator[None]:
    """Drop what code prints or displays in this context: code of the user that the user's cell did not call."""
    before = _owner.set(NO_RUN)
    try:
        yield
    finally:
        _owner.reset(before)


def owner() -> Any:
    """Return the run that owns this thread or task (or NO_RUN); None if the current run, or no run, started it."""
    return claimed() or getattr(threading.current_thread(), _MARK, None)


def is_own_thread() -> bool:
    """Whether no run started this thread: this package did, or a library before the first run."""
    return threading.current_thread().__dict__.get(_MARK, NO_RUN) is None


def adopt_threads(run: object) -> None:
    """Make `run` the owner of the live threads that have no owner. Call this before a new run begins.

    An idle thread of a pool has no owner: its next output belongs to the run that submits its next work.
    """
    frames = _frames()
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and waits_for_work(frame):
            thread.__dict__.pop(_MARK, None)
        elif thread is not threading.main_thread():
            thread.__dict__.setdefault(_MARK, run)


def _frames() -> dict[int, FrameType]:
    """Return what each thread runs, by the thread's number.

    Without garbage collection: Python before 3.12 holds a lock meanwhile for which the end of thread-local values
    waits (gh-106883).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()  # noqa: SLF001 - the documented way to read other threads' frames
    finally:
        if was_enabled:
            gc.enable()


def daemon(name: str, target: Callable[[], object]) -> threading.Thread:
    """Start a daemon thread that no run owns and no hook of a cell sees; the process does not wait for the thread.

    An error in the thread goes to the container's log: the functions that the thread calls may be replaced by a cell.
    """

    def run() -> None:
        try:
            target()
        except Exception:  # noqa: BLE001 - a replaced function may raise anything
            for write in fault_logs:
                write(f"{name}: {format_exc()}")

    thread = threading.Thread(name=name, daemon=True)
    thread.__dict__.update({_MARK: None, "run": _without_hooks(run)})
    thread.start()
    return thread


def _without_hooks(run: Callable[[], object]) -> Callable[[], object]:
    """Return a callable that removes the thread's hooks, which a cell may have set for all new threads, and runs `run`.

    A hook is called at each Python function, so that no Python function may run before the hooks are removed.
    """
    steps = (partial(sys.settrace, None), partial(sys.setprofile, None), partial(run))
    return partial(deque, map(methodcaller("__call__"), steps), maxlen=0)
