"""A decorator for code that pickles or loads values: deep recursion is allowed and garbage collection is off."""

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
"""Recursion limit in frames. A thread's C stack of 8 MB has room for three times as many (measured, Python 3.11)."""


def deep(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Raise the recursion limit and turn the garbage collector off while `function` runs.

    With a large object graph the collector repeatedly visits all objects, which takes longer than pickling them.
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
            if limit < DEPTH and sys.getrecursionlimit() == DEPTH:  # else a value's own code has set another limit
                sys.setrecursionlimit(limit)

    return runs_deep
