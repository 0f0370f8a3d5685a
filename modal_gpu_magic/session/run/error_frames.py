"""Clear this package's frames in an error's traceback: a kernel keeps its last error, and the frames hold values."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_PACKAGE = __name__.partition(".")[0] + "."


def clear_frames(error: BaseException) -> None:
    """Clear the local variables of this package's frames that have ended, in `error` and in its causes."""
    for frame in _frames(error):
        if str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE):
            with contextlib.suppress(RuntimeError):  # the frame is still running
                frame.clear()


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
