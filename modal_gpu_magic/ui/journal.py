"""What a cell has put out so far, so that it can be put out again below a dashboard that comes later. Bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 1 << 20
"""A cell that puts out more before its dashboard comes has it where it is."""


class Journal:
    """Acts of publishing, in order."""

    def __init__(self) -> None:
        self._acts: list[Callable[[], None]] = []
        self._size = 0
        self._open = True

    def add(self, act: Callable[[], None], size: int) -> None:
        """Something was published that weighs about so many bytes."""
        self._size += size
        if self._open and self._size <= MOST_BYTES:
            self._acts.append(act)

    def clear(self) -> None:
        """The cell took back what it had put out."""
        self._acts.clear()
        self._size = 0

    def close(self) -> tuple[Callable[[], None], ...]:
        """Nothing is kept from now on; returns what was, or nothing if it was too much."""
        acts = tuple(self._acts) if self._open and self._size <= MOST_BYTES else ()
        self._open = False
        self._acts.clear()
        return acts
