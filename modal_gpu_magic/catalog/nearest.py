"""The words of a known list that are nearest to a mistyped one. What is then said about them is the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

CUTOFF = 0.6
"""Least likeness of two words, 0 to 1; difflib's own default."""

_LOOK_ALIKE = str.maketrans("oil", "011")

MARGIN = 0.1
"""A word is named beside the nearest one if it is less alike by no more than this."""


def nearest(word: str, known: Collection[str], limit: int = 3) -> list[str]:
    """The words of `known` that `word` may have meant, nearest first, whatever their case; empty if none is near."""
    from difflib import SequenceMatcher

    looks_like = [candidate for candidate in known if _folded(candidate) == _folded(word)]
    if looks_like:
        return looks_like[:limit]
    matcher = SequenceMatcher(b=word.lower(), autojunk=False)
    scored = []
    for place, candidate in enumerate(known):
        matcher.set_seq1(candidate.lower())
        scored.append((-matcher.ratio(), place, candidate))
    scored.sort()
    if not scored or -scored[0][0] < CUTOFF:
        return []
    worst = scored[0][0] + MARGIN
    return [candidate for score, _, candidate in scored[:limit] if score <= worst and -score >= CUTOFF]


def _folded(word: str) -> str:
    """Without case, and with letters for the digits they are taken for: `H1OO` is as good as `H100`."""
    return word.lower().translate(_LOOK_ALIKE)


def either(words: Collection[str]) -> str:
    """Words as a choice in a sentence: `A`, `A or B`, `A, B or C`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
