"""Transfers that the notebook asked for between cells: whether the values arrived is known with its next request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from modal_gpu_magic.wire.pickles.identity import IdentityTable
    from modal_gpu_magic.wire.transfer import Packed


class Handed:
    """What was handed out and is not confirmed. A fetch that the user stops takes nothing in.

    Args:
        table: learns which objects the notebook has, once that is confirmed.
    """

    def __init__(self, table: IdentityTable) -> None:
        self._table = table
        self._waiting: list[Packed] = []

    def add(self, packed: Packed) -> None:
        """A transfer goes out."""
        self._waiting.append(packed)

    def confirm(self, received: Collection[int]) -> None:
        """The notebook says which transfers it took in, by their first token; the others it never will."""
        for packed in self._waiting:
            if packed.transfer.base in received:
                packed.arrived(self._table)
        self._waiting.clear()
