"""How Python behaves while values are pickled and made: it recurses deep, and collects no garbage meanwhile."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH = 5_000
"""Frames. The C stack of 8 MB that a thread has bears three times as many of pickle's (measured, Python 3.11)."""


@contextlib.contextmanager
def deep() -> Iterator[None]:
    """Let pickle recurse deeper than the user's limit for Python's own calls, and keep the garbage collector still.

    A large graph makes the collector look at all its objects again and again, which takes longer than to pickle them.
    """
    limit, collecting = sys.getrecursionlimit(), gc.isenabled()
    if limit < DEPTH:
        sys.setrecursionlimit(DEPTH)
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        if limit < DEPTH and sys.getrecursionlimit() == DEPTH:  # else a value's own code has set another one meanwhile
            sys.setrecursionlimit(limit)
