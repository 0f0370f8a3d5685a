"""What the values of some names looked like when both sides last had them alike.

Each side marks its own objects after a transfer; a group of names whose look is the mark's need not travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.graph import groups_of
from modal_gpu_magic.wire.pickles.fingerprints import Print, look

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.wire.buffers.hashing import Hasher
    from modal_gpu_magic.wire.pickles.identity import IdentityTable

MOST_GROUPS = 1_000
"""Marks that are kept; the oldest go first. A group without a mark counts as changed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Names that share objects, with what their values look like. `print` None: one of the values cannot be pickled."""

    names: tuple[str, ...]
    print: Print | None


@dataclass(frozen=True, slots=True)
class _Mark:
    stream: bytes
    tokens: tuple[int, ...]


class Marks:
    """The marks of one side.

    Args:
        namespace: this side's.
        table: the objects that both sides have.
    """

    def __init__(self, namespace: dict[str, Any], table: IdentityTable) -> None:
        self.namespace, self.table = namespace, table
        self._marks: dict[tuple[str, ...], _Mark] = {}

    def look(self, values: Mapping[str, Any], hasher: Hasher) -> Iterator[Group]:
        """The names in groups, each with its look. A group that cannot be pickled as one comes name by name."""
        for names in groups_of(values, self.namespace):
            group = self.group(names, values, hasher)
            if group.print is None and len(names) > 1:
                yield from (self.group((name,), values, hasher) for name in names)
            else:
                yield group

    def group(self, names: tuple[str, ...], values: Mapping[str, Any], hasher: Hasher) -> Group:
        """Names with what their values look like together."""
        of_container = self.table.side == 1
        found = look([values[name] for name in names], self.namespace, hasher, graphs=of_container)
        return Group(names, found)

    def agrees(self, group: Group) -> bool:
        """Whether the values are what they were when both sides had them alike."""
        mark = self._marks.get(group.names)
        if mark is None or group.print is None or mark.stream != group.print.stream:
            return False
        return mark.tokens == tuple(map(self.table.token, group.print.objects))

    def knows(self, names: tuple[str, ...]) -> bool:
        """Whether the group has a mark."""
        return names in self._marks

    def transferred(self, group: Group) -> None:
        """The values have crossed, and both sides have them alike.

        Marks of other groups with the same objects are over: an object that is changed back to what such a mark says
        is not what the other side has.
        """
        if group.print is None:
            return
        crossed = set(map(self.table.token, group.print.objects)) - {0}
        for names in [names for names, mark in self._marks.items() if not crossed.isdisjoint(mark.tokens)]:
            del self._marks[names]
        self.set(group)

    def set(self, group: Group) -> None:
        """Both sides have the values alike, as is known from other marks."""
        if group.print is None:
            return
        self._marks.pop(group.names, None)
        token = self.table.token
        self._marks[group.names] = _Mark(group.print.stream, tuple(map(token, group.print.objects)))
        for owner, digest in group.print.leaves:
            if token(owner):
                self.table.digests[token(owner)] = digest
        while len(self._marks) > MOST_GROUPS:
            del self._marks[next(iter(self._marks))]

    def forget(self, tokens: Sequence[int]) -> None:
        """The other side gave these objects up: which objects have taken their places since is of no matter there.

        Where an object of this side is no more, the other side still has it in its place, so that mark stays as it is.
        """
        self.table.forget(tokens)
        given_up = frozenset(tokens)
        for names, mark in list(self._marks.items()) if given_up else ():
            if not given_up.isdisjoint(mark.tokens):
                kept = tuple(0 if token in given_up else token for token in mark.tokens)
                self._marks[names] = _Mark(mark.stream, kept)

    def drop(self, names: AbstractSet[str]) -> None:
        """The sides differ in these names, or may."""
        for group in [group for group in self._marks if not names.isdisjoint(group)] if names else ():
            del self._marks[group]

    def clear(self) -> None:
        """The other side is gone."""
        self._marks.clear()


def names_of(groups: Iterable[Group]) -> set[str]:
    """All names of some groups."""
    return {name for group in groups for name in group.names}
