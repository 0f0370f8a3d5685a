"""Run an action in a thread that the interpreter's exit does not wait for."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


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
