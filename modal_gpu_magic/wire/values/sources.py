"""Source text of the functions in a transfer, so that the receiver's tracebacks and `inspect.getsource` have it.

Only the lines of the functions are sent, not the rest of the cell, which the user did not ask to send.
"""

from __future__ import annotations

import linecache
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType


def gather(codes: Iterable[CodeType]) -> dict[str, str]:
    """Return by file name the lines of functions at their line numbers; lines between functions are empty."""
    found: dict[str, dict[int, str]] = {}
    for code in codes:
        found.setdefault(code.co_filename, {}).update(_lines(code))
    return {name: _text(lines) for name, lines in found.items() if lines}


def register(sources: Mapping[str, str]) -> None:
    """Add texts to `linecache`, without overwriting the lines that it has."""
    for name, text in sources.items():
        lines, known = text.splitlines(keepends=True), linecache.getlines(name)
        merged = [old if old.strip() else new for old, new in zip_longest(known, lines, fillvalue="\n")]
        linecache.cache[name] = len(text), None, merged, name


def _lines(code: CodeType) -> dict[int, str]:
    """Return a function's own lines by number; empty: the text is unknown.

    Not `inspect.getsourcelines`: it searches all loaded modules for the file, 20 ms a function once torch is loaded.
    """
    import inspect
    import tokenize

    linecache.checkcache(code.co_filename)
    after = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    try:
        lines = inspect.getblock(after) if after else []
    except (SyntaxError, tokenize.TokenError):
        return {}
    return dict(enumerate(lines, code.co_firstlineno))


def _text(lines: Mapping[int, str]) -> str:
    return "".join(lines.get(number, "\n") for number in range(1, max(lines) + 1))
