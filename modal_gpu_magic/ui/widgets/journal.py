"""What a cell has put out, to be put out again.

Below a dashboard that comes later, by `%modal_gpu last`, or in a page that was loaded anew while the cell ran.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from modal_gpu_magic.wire.messages.log import weigh

MOST_BYTES = 16 << 20
"""A cell that puts out more has nothing kept."""


class Act(NamedTuple):
    """Something that was published: the kind and the content of one of Jupyter's iopub messages."""

    kind: str
    content: dict[str, Any]


class Journal:
    """Acts of publishing, in order.

    Args:
        most: bytes kept; beyond them nothing is.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._acts: list[Act] = []
        self.size = 0
        """Bytes of all that was put out since it was last cleared."""

    def add(self, act: Act) -> None:
        """Something was published."""
        self.size += weigh(act.content)
        if self.size <= self._most:
            self._acts.append(act)
        else:
            self._acts.clear()

    def clear(self) -> None:
        """The cell took back what it had put out."""
        self._acts.clear()
        self.size = 0

    @property
    def acts(self) -> tuple[Act, ...] | None:
        """What was put out; None: it was too much."""
        return tuple(self._acts) if self.size <= self._most else None
