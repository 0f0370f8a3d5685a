"""The text of functions that travel, so that tracebacks over there show their lines and `inspect.getsource` works.

Only the lines of the functions themselves go, not the cell around them, which may hold what nobody meant to send.
"""

from __future__ import annotations

import linecache
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType


def gather(codes: Iterable[CodeType]) -> dict[str, str]:
    """By file name, the lines of these functions in their places, the lines between them empty."""
    wanted: dict[str, set[int]] = {}
    for code in codes:
        wanted.setdefault(code.co_filename, set()).update(range(code.co_firstlineno, _last_line(code) + 1))
    return {name: text for name, numbers in wanted.items() if (text := _text(name, numbers)).strip()}


def spread(sources: Mapping[str, str]) -> None:
    """Make the text known to `linecache`, beside what is known of the same files already."""
    for name, text in sources.items():
        known = linecache.cache.get(name)
        lines = text.splitlines(keepends=True)
        if known is not None and len(known) > 1:
            pairs = zip_longest(known[2], lines, fillvalue="\n")
            lines = [old if old.strip() else new for old, new in pairs]
        linecache.cache[name] = sum(map(len, lines)), None, lines, name


def _text(name: str, numbers: set[int]) -> str:
    lines = linecache.getlines(name)[: max(numbers)]
    return "".join(line if number in numbers else "\n" for number, line in enumerate(lines, 1))


def _last_line(code: CodeType) -> int:
    return max(_lines(code), default=code.co_firstlineno)


def _lines(code: CodeType) -> Iterator[int]:
    for _, _, line in code.co_lines():
        if line is not None:
            yield line
    for inner in code.co_consts:
        if isinstance(inner, type(code)):
            yield _last_line(inner)
