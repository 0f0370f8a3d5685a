"""Pickle the matches of regular expressions as the search that found them, which the receiver repeats."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re

_ANCHORED = ("match", "fullmatch")
"""Methods of a pattern whose match `finditer` may not find: it searches for the first alternative that fits."""


def reduce_match(_: Any, match: re.Match[Any]) -> Any:
    """Return the reduction of a match: pattern, text, limits, and how the match is found in them.

    Raises:
        pickle.PicklingError: the text has changed since, as a `bytearray` can.
    """
    where = match.re, match.string, match.pos, match.endpos
    way = _number(match)
    if way is None:
        way = next((each for each in _ANCHORED if _is_found(getattr(match.re, each)(*where[1:]), match)), None)
    if way is None:
        raise pickle.PicklingError("cannot pickle 're.Match' object")
    return match_from, (*where, way)


def _number(match: re.Match[Any]) -> int | str | None:
    """Return the number of a match among those of `finditer`; None: `finditer` does not find it."""
    for number, each in enumerate(match.re.finditer(match.string, match.pos, match.endpos)):
        if _is_found(each, match):
            return number
        if each.start() > match.start():
            break
    return None


def _is_found(found: re.Match[Any] | None, match: re.Match[Any]) -> bool:
    return found is not None and found.regs == match.regs


def match_from(pattern: re.Pattern[Any], text: Any, start: int, end: int, way: int | str) -> Any:
    """Repeat a search.

    Args:
        pattern: the regular expression.
        text: what is searched.
        start: `pos` of the match.
        end: `endpos` of the match.
        way: number of the match among those of `finditer`, or the name of the pattern's method.
    """
    if isinstance(way, str):
        return getattr(pattern, way)(text, start, end)
    found = pattern.finditer(text, start, end)
    for _ in range(way):
        next(found)
    return next(found)
