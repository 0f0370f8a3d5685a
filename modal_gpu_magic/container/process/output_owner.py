"""Which run owns an output: output of a thread or an asyncio task belongs to the run that started it, at any time.

This module only stores owners; any object can stand for a run.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.process.thread_pools import waits_for_work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NO_RUN: Final[Any] = object()
"""Owner of output that nobody gets."""
_MARK = "_modal_gpu_owner"
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


def adopt_threads(run: object) -> None:
    """Make `run` the owner of the live threads that have no owner. Call this before a new run begins.

    An idle thread of a pool has no owner: its next output belongs to the run that submits its next work.
    """
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to read other threads' frames
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and waits_for_work(frame):
            thread.__dict__.pop(_MARK, None)
        elif thread is not threading.main_thread():
            thread.__dict__.setdefault(_MARK, run)


def daemon(name: str, target: Callable[[], object]) -> threading.Thread:
    """Start a daemon thread that no run owns; the process does not wait for the thread."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.__dict__[_MARK] = None
    thread.start()
    return thread
