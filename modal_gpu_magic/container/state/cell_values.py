"""What the namespace was before a cell, and what leaves it after the cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from modal_gpu_magic.wire.messages.events import StayedValue, Transfer
from modal_gpu_magic.wire.values.imports import Import


@dataclass(frozen=True, slots=True)
class Before:
    """The namespace as it was before the cell.

    Attributes:
        identities: of the objects that names are bound to.
        candidates: names that the notebook has, too, and whose values the cell may reach, with the values' tokens.
        unbound: names that the cell may unbind, and that were not bound: a mark stands for them.
        held: values that the cell changes in place and then binds or unbinds the name of. The notebook may have other
            names for such a value, so its content is needed after the cell.
    """

    identities: dict[str, int]
    candidates: dict[str, int]
    unbound: tuple[str, ...] = ()
    held: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class OutgoingValues:
    """The values that a cell returns to the notebook, and those that stay in the container, with the reason.

    Attributes:
        imported: names that the cell bound by an import statement, which have no value to send.
        stale: tokens of objects of which the notebook has an older content, since their new one stays.
        forgot: tokens of objects that are no more.
    """

    values: Transfer
    stays: tuple[StayedValue, ...]
    gone: tuple[str, ...]
    looks: dict[str, tuple[str, str]]
    submodules: tuple[str, ...]
    imported: dict[str, Import]
    stale: tuple[int, ...] = ()
    forgot: tuple[int, ...] = ()

    def without(self, lost: tuple[StayedValue, ...]) -> OutgoingValues:
        """The same with values that ended with their rank: the notebook is told of each, and has no older one of it."""
        names = {stay.name for stay in lost}
        stays = tuple(stay for stay in self.stays if stay.name not in names)
        return replace(self, stays=(*stays, *lost), gone=tuple(name for name in self.gone if name not in names))
