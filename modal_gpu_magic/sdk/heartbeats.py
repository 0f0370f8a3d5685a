"""Adapter of the SDK's heartbeats of Apps and queues: their failures go to this package instead of the notebook.

The SDK sends them in loops that log each failure with a traceback (`TaskContext` in `modal._utils.async_utils`). A task
has the context variables of its creator, so a log filter knows the loops of this package from those of the user's code.
Tested with modal 1.6.0 to 1.6.4. Symptom if this breaks: tracebacks in the notebook after Modal has ended an App.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS: Final = ("modal-utils", "modal-client")
FAILED_LOOP: Final = "Loop attempt for "
"""Start of the message about a failed heartbeat."""

Listener = Callable[[BaseException | None], None]

_listener: contextvars.ContextVar[weakref.WeakMethod[Listener] | None] = contextvars.ContextVar(
    "modal_gpu_heartbeats", default=None
)


@contextlib.contextmanager
def heartbeats_to(listener: Listener) -> Iterator[None]:
    """Let a method receive the failures of heartbeats that begin in the block, from the SDK's thread.

    Its object is held weakly: the SDK's connection lives longer than an App, and keeps the context that it began in.
    """
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_not_ours)  # a filter that exists is not added again
    token = _listener.set(weakref.WeakMethod(listener))
    try:
        yield
    finally:
        _listener.reset(token)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Whether a record is to be logged; the failure of a heartbeat of this package goes to its listener."""
    listener = _listener.get()
    if listener is None or not record.getMessage().startswith(FAILED_LOOP):
        return True
    if (method := listener()) is not None:
        method(record.exc_info[1] if record.exc_info else None)
    return False
