"""How far a map of a service is: tqdm's bar where it is installed, else a line of text, while there is more to come."""

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
"""Between two changes of the line of text."""


def watcher(shell: InteractiveShell) -> Callable[[Iterator[Any], int | None, str], Iterator[Any]]:
    """What a notebook's services show of their maps: `watch(results, total, title)` iterates over the results."""

    def watch(results: Iterator[Any], total: int | None, title: str) -> Iterator[Any]:
        if importlib.util.find_spec("tqdm") is None:
            return line(results, total, title)
        # Where nobody is (papermill), a saved widget would be "model not found" for ever: text instead.
        bars: Any = importlib.import_module("tqdm.auto" if can_ask(shell) else "tqdm")
        return iter(bars.tqdm(results, total=total, desc=title, unit="call"))

    return watch


def line(results: Iterator[Any], total: int | None, title: str) -> Iterator[Any]:
    """The results, and on stderr one line that counts them, rewritten in place."""
    shown = 0.0
    done = 0
    for done, result in enumerate(results, 1):
        if time.monotonic() > shown + LINE_SECONDS:
            shown = time.monotonic()
            sys.stderr.write(f"\r{title} {done}{f'/{total}' if total else ''}")
            sys.stderr.flush()
        yield result
    sys.stderr.write(f"\r{title} {done}{f'/{total}' if total else ''}\n")
