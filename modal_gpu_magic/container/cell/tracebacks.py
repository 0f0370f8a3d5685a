"""Remove this package's frames from tracebacks, and detect whether user code is running. Shows nothing."""

from __future__ import annotations

import builtins
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.process.interrupt import is_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())  # Python 3.11


MOST_FRAMES = 4000
"""Tracebacks up to this depth are shown whole: Python's own limit of recursion is below."""
ENDS = 100
"""Frames shown of each end of a deeper traceback: IPython takes 6 ms a frame, and a kernel would take minutes."""


def cut_ours(error: BaseException) -> int:
    """Remove this package's frames (of a signal handler, a stream) from the tracebacks of `error` and its causes.

    Returns:
        The number of frames cut out of the middle of tracebacks that are too deep to show.
    """
    cut = 0
    for each in _family(error):
        each.__traceback__, left_out = _without_ours(each.__traceback__)
        cut += left_out
    return cut


def is_group(error: BaseException) -> bool:
    """Whether Python formats the traceback instead of IPython: for exception groups and their consequences."""
    return any(isinstance(each, _GROUP) for each in _family(error))


def python_traceback(error: BaseException) -> tuple[str, ...]:
    """Return the lines of Python's own traceback."""
    return tuple("".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines())


def is_running(namespace: dict[str, Any]) -> bool:
    """Whether code with these globals is on this thread's stack."""
    return any(frame.f_globals is namespace for frame in _stack())


def is_called(function: Callable[..., object]) -> bool:
    """Whether a call of this function is on this thread's stack."""
    code = function.__code__
    return any(frame.f_code is code for frame in _stack())


def _stack() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - `inspect.currentframe` wraps the same function
    while frame is not None:
        yield frame
        frame = frame.f_back


def _family(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]


def _without_ours(trace: TracebackType | None) -> tuple[TracebackType | None, int]:
    """Return a traceback without this package's frames, and the number of frames left out because it is too deep."""
    links = []
    link = trace
    while link is not None:
        links.append(link)
        link = link.tb_next
    user_links = [link for link in links if not is_ours(link.tb_frame)]
    deep = len(user_links) > MOST_FRAMES
    if len(user_links) in (0, len(links)) and not deep:
        return trace, 0
    kept = [*user_links[:ENDS], *user_links[-ENDS:]] if deep else user_links
    rest = None
    for link in reversed(kept):
        line: int | None = link.tb_lineno  # None: ■ came at an instruction of a loop that belongs to no line
        rest = TracebackType(rest, link.tb_frame, link.tb_lasti, line or link.tb_frame.f_code.co_firstlineno)
    return rest, len(user_links) - len(kept)
