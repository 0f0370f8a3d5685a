"""Unconfirmed fetches: the next request of the notebook states which of them arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from modal_gpu_magic.wire.pickles.identity import IdentityTable
    from modal_gpu_magic.wire.transfer import Packed


class Handed:
    """Transfers that were sent on request and are not confirmed. A fetch that the user stops is never received.

    Args:
        table: records the objects that the notebook has, once the notebook confirms a transfer.
    """

    def __init__(self, table: IdentityTable) -> None:
        self._table = table
        self._waiting: list[Packed] = []

    def add(self, packed: Packed) -> None:
        """Add a transfer that is about to be sent."""
        self._waiting.append(packed)

    @property
    def waiting(self) -> tuple[Packed, ...]:
        """The transfers that are not confirmed."""
        return tuple(self._waiting)

    def confirm(self, received: Collection[int]) -> set[int]:
        """Confirm the received transfers, by their first token; the notebook will never receive the others.

        Returns:
            The tokens of the objects whose content the notebook has received.
        """
        arrived = [packed for packed in self._waiting if packed.transfer.base in received]
        self._waiting.clear()
        for packed in arrived:
            packed.arrived(self._table)
        return set[int]().union(*(packed.tokens for packed in arrived))
