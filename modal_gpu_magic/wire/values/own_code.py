"""Tell an exception of a value's own code from one that stops the code of this package.

A class may raise anything while an instance is pickled, loaded, compared or shown: `SystemExit`, `CancelledError`, a
`BaseException` of its own. That is a fact about the value. A press of ■, or a cell for which a save makes way, is none.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.wire.values.kinds import is_a, module_of, name_of

if TYPE_CHECKING:
    from typing import TypeVar

    _Error = TypeVar("_Error", bound=BaseException)

_PACKAGE: Final = "modal_gpu_magic"
_STOPS: Final = "modal_gpu_stops"
"""Attribute of an exception that stops code of this package."""
_SDK: Final = "modal"
"""The package whose exceptions outside of `Exception` end an input."""


def stopping(error: _Error) -> _Error:
    """Mark an exception that stops code of this package, so that `pass_on` does not take it for a value's own."""
    vars(error)[_STOPS] = True
    return error


def pass_on(error: BaseException) -> None:
    """Raise an exception again, unless it may come from a value's own code.

    Raises:
        BaseException: the exception stops the code of this package.
    """
    if _is_stopping(error):
        try:
            raise error
        finally:
            del error  # its traceback has this frame, and would keep the values of the callers' frames


def words_of(error: BaseException) -> str:
    """Return `str(error)`, or a replacement if the exception's `__str__` fails: the method may be user code."""
    try:
        return str(error)
    except BaseException as own:  # noqa: BLE001 - user code may raise anything
        pass_on(own)
        return f"<{name_of(type(error))} whose str() failed>"


def _is_stopping(error: BaseException) -> bool:
    kind = type(error)
    if is_a(error, Exception):
        return False
    if BaseException.__getattribute__(error, "__dict__").get(_STOPS) or module_of(kind).partition(".")[0] == _SDK:
        return True
    return is_a(error, KeyboardInterrupt) and _signals_raise()


def _signals_raise() -> bool:
    """Whether a signal may raise an exception here that `stopping` does not mark: handlers of this package mark it."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    return str(getattr(handler, "__module__", "")).partition(".")[0] != _PACKAGE
