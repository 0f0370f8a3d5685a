"""Progress of a service's map: tqdm's bar if tqdm is installed, else a line of text."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.ui.fronts.asking import can_ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from IPython.core.interactiveshell import InteractiveShell

LINE_SECONDS = 0.25
"""Shortest time between two updates of the text line, in seconds."""


def watcher(shell: InteractiveShell) -> Callable[[Iterator[Any], int | None, str], Iterator[Any]]:
    """Return the progress display for a notebook's services: `watch(results, total, title)` yields the results."""

    def watch(results: Iterator[Any], total: int | None, title: str) -> Iterator[Any]:
        if importlib.util.find_spec("tqdm") is None:
            return line(results, total, title)
        # Without a page (papermill), a saved widget shows only "model not found", so text is used.
        bars: Any = importlib.import_module("tqdm.auto" if can_ask(shell) else "tqdm")
        return iter(bars.tqdm(results, total=total, desc=title, unit="call"))

    return watch


def line(results: Iterator[Any], total: int | None, title: str) -> Iterator[Any]:
    """Yield the results and count them on stderr, in one line that is rewritten in place."""
    shown = 0.0
    done = 0
    for done, result in enumerate(results, 1):
        if time.monotonic() > shown + LINE_SECONDS:
            shown = time.monotonic()
            sys.stderr.write(f"\r{title} {done}{f'/{total}' if total else ''}")
            sys.stderr.flush()
        yield result
    sys.stderr.write(f"\r{title} {done}{f'/{total}' if total else ''}\n")
