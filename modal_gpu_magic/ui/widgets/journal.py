"""The output of a cell, kept to be published again.

Used below a dashboard that opens later, by `%modal_gpu last`, and for pages loaded while the cell runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from modal_gpu_magic.wire.messages.log import weigh

MAX_BYTES = 16 << 20
"""Most output that is kept; of larger output nothing is kept."""


class Act(NamedTuple):
    """A publication: kind and content of one of Jupyter's iopub messages."""

    kind: str
    content: dict[str, Any]


class Journal:
    """The publications of a cell, in order.

    Args:
        max_bytes: limit on the output kept; beyond the limit nothing is kept.

    Attributes:
        size: bytes of output since the last clear.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._acts: list[Act] = []
        self.size = 0

    def add(self, act: Act) -> None:
        """Record a publication."""
        self.size += weigh(act.content)
        if self.size <= self._max_bytes:
            self._acts.append(act)
        else:
            self._acts.clear()

    def clear(self) -> None:
        """Forget all output: the cell cleared it."""
        self._acts.clear()
        self.size = 0

    @property
    def acts(self) -> tuple[Act, ...] | None:
        """The publications; None: too large to keep."""
        return tuple(self._acts) if self.size <= self._max_bytes else None
