"""Run an action in a thread that the interpreter's exit does not wait for."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

PRESS_SECONDS: Final = 0.5
"""Seconds between two looks for ■ while the main thread waits: a press that comes just before Python begins to wait for
a lock does not wake the main thread."""


def in_thread(action: Callable[[], Any], name: str = "modal-gpu-open") -> Future[Any]:
    """Run `action` in a daemon thread of this name, with the caller's context; return its future."""
    future: Future[Any] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(action)
        except BaseException as error:  # noqa: BLE001 - `result` raises it
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def result_of(future: Future[_T]) -> _T:
    """Wait for a future and return its result. ■ ends the wait within half a second.

    Raises:
        KeyboardInterrupt: ■ was pressed.
        Exception: the error of the action.
    """
    while not wait((future,), PRESS_SECONDS).done:
        pass
    return future.result()
