"""How Python behaves while values are pickled and made: it recurses deep, and collects no garbage meanwhile."""

from __future__ import annotations

import functools
import gc
import sys
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

DEPTH = 5_000
"""Frames. The C stack of 8 MB that a thread has bears three times as many of pickle's (measured, Python 3.11)."""


def deep(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Let pickle recurse deeper in `function` than the user's limit for calls, and keep the garbage collector still.

    A large graph makes the collector look at all its objects again and again, which takes longer than to pickle them.
    """

    @functools.wraps(function)
    def runs_deep(*args: _Given.args, **options: _Given.kwargs) -> _Result:
        limit, collecting = sys.getrecursionlimit(), gc.isenabled()
        if limit < DEPTH:
            sys.setrecursionlimit(DEPTH)
        gc.disable()
        try:
            return function(*args, **options)
        finally:
            if collecting:
                gc.enable()
            if limit < DEPTH and sys.getrecursionlimit() == DEPTH:  # else a value's own code has set another meanwhile
                sys.setrecursionlimit(limit)

    return runs_deep
