"""Whose output it is: a thread's, or an asyncio task's, belongs to the run that started it, however long it lives.

Only who owns what; what a run is, this module does not know.
"""

from __future__ import annotations

import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.process.thread_pools import waits_for_work

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK = "_modal_gpu_owner"
_owner: ContextVar[Any] = ContextVar(_MARK, default=None)

claimed: Callable[[], Any] = _owner.get
"""The run that claimed this context, or None. By itself because it stands in the way of every `print`."""


def claim(run: object) -> None:
    """What this context, and every asyncio task made in it, puts out is `run`'s for good."""
    _owner.set(run)


def owner() -> Any:
    """The run this thread or task belongs to; None if it was started in the current one, or by none."""
    return claimed() or getattr(threading.current_thread(), _MARK, None)


def adopt_threads(run: object) -> None:
    """Before a new run begins: the threads alive now were started by `run` or by an earlier one.

    A pool's worker that has nothing to do belongs to nobody: it is whoever gives it work next whose output it makes.
    """
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to see where other threads stand
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and waits_for_work(frame):
            thread.__dict__.pop(_MARK, None)
        elif thread is not threading.main_thread():
            thread.__dict__.setdefault(_MARK, run)


def daemon(name: str, target: Callable[[], object]) -> threading.Thread:
    """Start a thread of ours: it belongs to no run, and the process does not wait for it."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.__dict__[_MARK] = None
    thread.start()
    return thread
