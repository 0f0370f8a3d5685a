"""What no two runs of a cell share, taken out before they are compared: addresses, times, counts, names of cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Pattern = tuple[re.Pattern[str], str]

COMMON: Final[tuple[Pattern, ...]] = (
    (re.compile(r"0x[0-9a-fA-F]{6,}"), "0x…"),
    (re.compile(r"<ipython-input-\d+-\w+>|/\S*?/ipykernel_\d+/\d+\.py"), "<cell>"),
    (re.compile(r"\b\d+\.py, line"), "<cell>, line"),
    (re.compile(r"The slowest run took [^\n]*\n"), ""),
    (re.compile(r"[\d,]+ (runs?|loops?)\b"), r"<n> \1"),
)
"""Patterns and what stands for each, applied in order; a comparison adds its own before them."""

TIME: Final[Pattern] = (re.compile(r"\d[\d.,]*(?:e[+-]\d+)? ?(ns|µs|μs|us|ms|s|min|h)\b"), "<time>")


def scrub(value: Any, patterns: Sequence[Pattern], less: Collection[str] = ()) -> Any:
    """`value` with every pattern applied to its texts at any depth, and without the keys in `less`."""
    if isinstance(value, str):
        for pattern, stand_in in patterns:
            value = pattern.sub(stand_in, value)
        return value
    if isinstance(value, dict):
        return {key: scrub(item, patterns, less) for key, item in value.items() if key not in less}
    if isinstance(value, list | tuple):
        return [scrub(item, patterns, less) for item in value]
    return value
