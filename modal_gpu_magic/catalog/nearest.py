"""Find the known words that are nearest to a mistyped word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

CUTOFF = 0.6
"""Smallest similarity of two words, 0 to 1; difflib's default."""

_LOOK_ALIKE = str.maketrans("oil", "011")

MARGIN = 0.1
"""Largest difference in similarity to the nearest word."""


def nearest(word: str, known: Collection[str], limit: int = 3) -> list[str]:
    """Return the words of `known` that are similar to `word` in any case, nearest first; empty: none is similar."""
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
    """Return a word in lower case with look-alike letters replaced by digits: `H1OO` equals `H100`."""
    return word.lower().translate(_LOOK_ALIKE)


def either(words: Collection[str]) -> str:
    """Join words as alternatives: `A`, `A or B`, `A, B or C`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
