"""What a cell has put out, to be put out again: below a dashboard that comes later, or by `%modal_gpu last`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 16 << 20
"""A cell that puts out more has nothing kept."""


class Journal:
    """Acts of publishing, in order.

    Args:
        most: bytes kept; beyond them nothing is.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._acts: list[Callable[[], None]] = []
        self.size = 0
        """Bytes of all that was put out since it was last cleared."""

    def add(self, act: Callable[[], None], size: int) -> None:
        """Something was published that weighs about so many bytes."""
        self.size += size
        if self.size <= self._most:
            self._acts.append(act)
        else:
            self._acts.clear()

    def clear(self) -> None:
        """The cell took back what it had put out."""
        self._acts.clear()
        self.size = 0

    @property
    def acts(self) -> tuple[Callable[[], None], ...] | None:
        """What puts it out again; None: it was too much."""
        return tuple(self._acts) if self.size <= self._most else None
