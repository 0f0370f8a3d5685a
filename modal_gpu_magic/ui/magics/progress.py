"""Progress of a service's map: one line that is updated in place, in a notebook as in a terminal."""

from __future__ import annotations

import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from IPython.core.interactiveshell import InteractiveShell

UPDATE_SECONDS = 0.25
"""Shortest time between two updates of the line, in seconds."""
CLEAR_LINE = "\r\x1b[K"
"""Moves a terminal's cursor to the start of the line, and erases the line."""


def watcher(shell: InteractiveShell) -> Callable[[Iterator[Any], int | None, str], Iterator[Any]]:
    """Return the progress display for a notebook's services: `watch(results, total, title)` yields the results."""

    def watch(results: Iterator[Any], total: int | None, title: str) -> Iterator[Any]:
        show = _displayed(shell) if getattr(shell, "kernel", None) is not None else _written
        return counted(results, total, title, show)

    return watch


def counted(
    results: Iterator[Any], total: int | None, title: str, show: Callable[[str, bool], object]
) -> Iterator[Any]:
    """Yield the results, and count them by `show(line, is_last)`."""
    began = shown = time.monotonic()
    done, ended = 0, False
    show(text(title, done, total, 0.0), False)
    try:
        for result in results:
            done += 1
            now = time.monotonic()
            if now >= shown + UPDATE_SECONDS:
                shown = now
                show(text(title, done, total, now - began), False)
            yield result
        ended = True
    finally:
        line = text(title, done, total, time.monotonic() - began, "" if ended else "stopped")
        show(line, True)


def text(title: str, done: int, total: int | None, seconds: float, outcome: str | None = None) -> str:
    """Return the line: `embed.predict 30/100 · 12/s · 0:06 left`, at the end `embed.predict 100/100 in 8.2 s`."""
    count = f"{title} {done}{f'/{total}' if total is not None else ''}"
    if outcome is not None:
        return f"{count} in {_duration(seconds)}{f' · {outcome}' if outcome else ''}"
    if not done or not seconds:
        return count
    rate = done / seconds
    left = f" · {_duration((total - done) / rate)} left" if total is not None and total > done else ""
    return f"{count} · {rate:.3g}/s{left}"


def _duration(seconds: float) -> str:
    """`8.2 s`, `12 s`, `3:05`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s" if round(seconds, 1) < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - two digits
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _displayed(shell: InteractiveShell) -> Callable[[str, bool], None]:
    """Return the display of a notebook: an output that each update replaces."""
    display_id = uuid.uuid4().hex
    is_shown = False

    def show(line: str, _is_last: bool) -> None:  # noqa: FBT001 - see `counted`
        nonlocal is_shown
        shell.display_pub.publish({"text/plain": line}, transient={"display_id": display_id}, update=is_shown)
        is_shown = True

    return show


def _written(line: str, is_last: bool) -> None:  # noqa: FBT001 - see `counted`
    """Rewrite a line of a terminal; where stderr is no terminal, write nothing."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{CLEAR_LINE}{line}{'' if not is_last else chr(10)}")
        sys.stderr.flush()
