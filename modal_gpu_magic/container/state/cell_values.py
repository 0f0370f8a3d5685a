"""The namespace before a cell, and the values that the cell returns."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.process.output_owner import without_output
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.events import Answer, Shared, StayedValue, Transfer
from modal_gpu_magic.wire.values.imports import Import
from modal_gpu_magic.wire.values.kinds import is_a, module_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Before:
    """The namespace before a cell.

    Attributes:
        identities: ids of the objects that names are bound to.
        candidates: names that the notebook shares and whose values the cell may reach, with the values' tokens.
        own: names whose values only the container has and the cell may reach.
        own_tokens: tokens of the objects in the values of `own`.
        unbound: unbound names that the cell may delete: a marker is bound to each.
        held: values that the cell may change before it rebinds or deletes their name. The notebook may have other names
            for such a value or for objects in it, so the content is needed after the cell.
    """

    identities: dict[str, int]
    candidates: dict[str, int]
    own: tuple[str, ...]
    own_tokens: set[int]
    unbound: tuple[str, ...]
    held: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutgoingValues:
    """The values that a cell returns to the notebook, and those that stay in the container, with the reason.

    Attributes:
        values: the packed values.
        stays: descriptions of the values that stay.
        redescribed: new descriptions of values that stayed earlier.
        gone: names that the cell has deleted.
        looks: type name and summary of the values that the notebook may be unable to make, by name.
        submodules: loaded submodules of returned modules, as named in the cell's text.
        imported: names that the cell bound by an import statement, without a value to send.
        stale: tokens of objects whose new content stays, so that the notebook has older content.
        forgot: tokens of objects that no longer exist.
        shares: by name of a value that only the container has, what the value shares, where that has changed.
        places: by token of an object, the name of the place that the user's modules have the object at.
    """

    values: Transfer
    stays: tuple[StayedValue, ...] = ()
    redescribed: tuple[StayedValue, ...] = ()
    gone: tuple[str, ...] = ()
    looks: dict[str, tuple[str, str]] = field(default_factory=dict)
    submodules: tuple[str, ...] = ()
    imported: dict[str, Import] = field(default_factory=dict)
    stale: tuple[int, ...] = ()
    forgot: tuple[int, ...] = ()
    shares: dict[str, Shared] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)

    def without(self, lost: tuple[StayedValue, ...]) -> OutgoingValues:
        """Add values that ended with their rank: the notebook reports each and keeps no older value of the name."""
        names = {stay.name for stay in lost}
        stays = tuple(stay for stay in self.stays if stay.name not in names)
        return replace(self, stays=(*stays, *lost), gone=tuple(name for name in self.gone if name not in names))

    def added_to(self, answer: Answer, versions: dict[str, str]) -> Answer:
        """Return an answer with these values.

        Args:
            answer: the answer.
            versions: by module, the container's versions of the packages whose objects are returned.
        """
        return replace(
            answer,
            values=self.values,
            stays=self.stays,
            redescribed=self.redescribed,
            stale=self.stale,
            shares=self.shares,
            places=self.places,
            forgot=self.forgot,
            gone=self.gone,
            imported=self.imported,
            looks=self.looks,
            submodules=self.submodules,
            versions=versions,
        )


def looks_of(values: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the type's name and the line of values that the notebook may not be able to make."""
    with without_output():
        return {name: (name_of(type(value)), summary(value)) for name, value in values.items() if _may_lack(value)}


def _may_lack(value: Any) -> bool:
    """Whether the notebook may lack the package needed to make such a value."""
    return is_a(value, ModuleType) or module_of(type(value)) not in ("builtins", "__main__")


def submodules_of(values: Iterable[Any], source: str) -> tuple[str, ...]:
    """Return loaded submodules of the returned modules that the cell's text names with dots."""
    heads = [value.__name__ + "." for value in values if is_a(value, ModuleType)]
    named = {match[0] for match in re.finditer(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", source)} if heads else set()
    return tuple(name for name in sorted(named) if name in sys.modules and name.startswith(tuple(heads)))
