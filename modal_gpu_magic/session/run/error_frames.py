"""Leave this package's frames out of a traceback, or clear them: a kernel keeps its last error, with all its values."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_Error = TypeVar("_Error", bound=BaseException)
_PACKAGE = __name__.partition(".")[0] + "."


def clear_frames(error: BaseException) -> None:
    """Clear the local variables of this package's frames that have ended, in `error` and in its causes."""
    for frame in _frames(error):
        if str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE):
            with contextlib.suppress(RuntimeError):  # the frame is still running
                frame.clear()


def shown_within(error: _Error) -> _Error:
    """Make IPython show an error of user code that this package called with the frames of that code alone.

    Call it in the frame that has caught the error. An error that renders its own traceback stays as it is.
    """
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None

    def render() -> list[str]:
        from IPython.core.getipython import get_ipython

        shell: Any = get_ipython()
        lines: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, trace, tb_offset=0)
        return lines

    if not hasattr(error, "_render_traceback_"):
        with contextlib.suppress(AttributeError):  # a class with __slots__
            error._render_traceback_ = render  # type: ignore[attr-defined]  # IPython's hook
    return error


def _frames(error: BaseException) -> Iterator[FrameType]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        link = each.__traceback__
        while link is not None:
            yield link.tb_frame
            link = link.tb_next
