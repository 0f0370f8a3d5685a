"""Names of the container before whose values this container does not have: not yet loaded, or lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modal_gpu_magic.wire.saved.manifest import SavedGroup


class UnloadedNames:
    """The names that the container before had and that this container has not bound.

    Attributes:
        waiting: names whose values are saved and not yet loaded, each with its group.
        lost: names whose values are lost, with the reason.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, SavedGroup] = {}
        self.lost: dict[str, str] = {}

    def groups(self) -> dict[tuple[str, ...], SavedGroup]:
        """Return the groups that are saved and not yet loaded, by the names that still belong to them."""
        return {group.names: group for group in self.waiting.values()}

    def discard(self, name: str) -> None:
        """Give up the saved value of a name that is not loaded, since the name is bound again or deleted."""
        group = self.waiting.pop(name, None)
        if group is not None:
            rest = replace(group, names=tuple(each for each in group.names if each != name))
            self.waiting.update({each: rest for each in rest.names if each in self.waiting})

    def bound(self, names: Iterable[str]) -> None:
        """Note that names are bound: none of them is lost any more."""
        for name in names:
            self.lost.pop(name, None)

    def why_unbound(self, name: str) -> str:
        """Return why a name of the container before is not bound; empty: it is bound, or was not known."""
        if name in self.waiting:
            return "its saved value is not loaded yet, because the cell does not name it"
        return self.lost.get(name, "")

    def clear(self) -> None:
        """Forget all names: the notebook begins a new namespace."""
        self.waiting.clear()
        self.lost.clear()
