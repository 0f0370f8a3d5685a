"""How deep a value may be nested: pickle recurses, and so deep a cell's own code never is when a transfer begins."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH = 5_000
"""Frames. The C stack of 8 MB that a thread has bears three times as many of pickle's (measured, Python 3.11)."""


@contextlib.contextmanager
def deep() -> Iterator[None]:
    """Let pickle recurse deeper than the user's limit for Python's own calls."""
    limit = sys.getrecursionlimit()
    if limit >= DEPTH:
        yield
        return
    sys.setrecursionlimit(DEPTH)
    try:
        yield
    finally:
        if sys.getrecursionlimit() == DEPTH:  # else a value's own code has set another one meanwhile
            sys.setrecursionlimit(limit)
