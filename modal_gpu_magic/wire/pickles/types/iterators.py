"""Iterators over sequences: one that the receiver has goes to the place of the sender's."""

from __future__ import annotations

import array
import collections
from typing import Any

ITERATORS = frozenset(
    {
        *(type(iter(sequence)) for sequence in ([], (), "", "é", b"", bytearray(), range(0), range(1 << 70))),  # type: ignore[var-annotated]  # of many types
        type(iter(array.array("i"))),
        type(reversed([])),
    }
)
"""The types of the iterators whose place `__setstate__` sets."""


def end_iterator(old: Any, new: Any) -> bool:
    """End an iterator if another one has no items: the pickle of one that has ended has no place to set."""
    if new.__length_hint__():
        return False
    collections.deque(old, maxlen=0)
    return True
