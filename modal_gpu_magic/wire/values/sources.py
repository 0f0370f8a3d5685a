"""The text of functions that travel, so that tracebacks over there show their lines and `inspect.getsource` works.

Only the lines of the functions themselves go, not the cell around them, which may hold what nobody meant to send.
"""

from __future__ import annotations

import linecache
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType


def gather(codes: Iterable[CodeType]) -> dict[str, str]:
    """By file name, the lines of these functions in their places, the lines between them empty."""
    found: dict[str, dict[int, str]] = {}
    for code in codes:
        found.setdefault(code.co_filename, {}).update(_lines(code))
    return {name: _text(lines) for name, lines in found.items() if lines}


def spread(sources: Mapping[str, str]) -> None:
    """Make the text known to `linecache`, beside what is known of the same files already."""
    for name, text in sources.items():
        lines, known = text.splitlines(keepends=True), linecache.getlines(name)
        merged = [old if old.strip() else new for old, new in zip_longest(known, lines, fillvalue="\n")]
        linecache.cache[name] = len(text), None, merged, name


def _lines(code: CodeType) -> dict[int, str]:
    """A function's own lines by number; none if its text is not known."""
    import inspect
    import tokenize

    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):
        return {}
    return dict(enumerate(lines, first))


def _text(lines: Mapping[int, str]) -> str:
    return "".join(lines.get(number, "\n") for number in range(1, max(lines) + 1))
