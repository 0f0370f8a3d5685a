"""Marks: fingerprints of the values at the time when both sides last had the same content.

Each side marks its own objects after a transfer. A group of names whose fingerprint equals its mark is not sent.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.graph import groups_of
from modal_gpu_magic.wire.pickles.fingerprints import Print, look
from modal_gpu_magic.wire.pickles.types.array_kinds import is_array, is_array_kind
from modal_gpu_magic.wire.pickles.types.shared_memory import SharedMemory
from modal_gpu_magic.wire.pickles.types.views import by_root, carriers, is_view, root_of
from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.torch_facts import is_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.wire.buffers.hashing import Hasher
    from modal_gpu_magic.wire.pickles.identity import IdentityTable

MOST_GROUPS = 1_000
"""Largest number of marks; the oldest are deleted first. A group without a mark counts as changed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Names that share objects, with the fingerprint of their values.

    Attributes:
        names: the names.
        print: the fingerprint; None: a value cannot be pickled.
    """

    names: tuple[str, ...]
    print: Print | None


@dataclass(frozen=True, slots=True)
class _Mark:
    stream: bytes
    tokens: tuple[int, ...]


class Marks:
    """The marks of one side.

    Args:
        namespace: this side's namespace.
        table: the objects that both sides have.
    """

    def __init__(self, namespace: dict[str, Any], table: IdentityTable) -> None:
        self.namespace, self.table = namespace, table
        self._marks: dict[tuple[str, ...], _Mark] = {}

    def look(self, values: Mapping[str, Any], hasher: Hasher) -> Iterator[Group]:
        """Yield the names in groups with fingerprints. A group that cannot be pickled is split into single names."""
        for names in groups_of(values, self.namespace):
            group = self.group(names, values, hasher)
            if group.print is None and len(names) > 1:
                yield from (self.group((name,), values, hasher) for name in names)
            else:
                yield group

    def group(self, names: tuple[str, ...], values: Mapping[str, Any], hasher: Hasher) -> Group:
        """Return names with the joint fingerprint of their values."""
        several = [values[name] for name in names]
        found = self._look(several, hasher)
        if found is not None and (memory := self._memory_of(found.objects, hasher)):
            found = self._look(several + memory, hasher)
        return Group(names, found)

    def _look(self, values: list[Any], hasher: Hasher) -> Print | None:
        return look(values, self.namespace, hasher, graphs=self.table.side == 1, table=self.table)

    def _memory_of(self, objects: Sequence[Any], hasher: Hasher) -> list[Any]:
        """Return the arrays and storages that both sides have and in whose memory arrays among `objects` lie.

        An array is sent with them, and a cell reaches them through the array: a change of them changes the array.
        """
        inside = set(map(id, objects))
        found = [*self._carriers(objects, hasher), *self._around(objects, hasher)]
        return [each for key, each in {id(each): each for each in found}.items() if key not in inside]

    def _around(self, objects: Sequence[Any], hasher: Hasher) -> Iterator[Any]:
        if hasher.shared_memory is None:
            arrays = self.table.arrays() if "torch" in sys.modules else ()
            hasher.shared_memory = SharedMemory(arrays, self.table.storages(), self.table.token)
        kinds = {kind for kind in set(map(type, objects)) if is_array_kind(kind) or name_of(kind) == "UntypedStorage"}
        for value in objects if kinds else ():
            around = value if type(value) in kinds and (is_storage(value) or not value.dtype.hasobject) else None
            while around is not None and (around := hasher.shared_memory.around(around)) is not None:
                yield around

    def _carriers(self, objects: Sequence[Any], hasher: Hasher) -> Iterable[Any]:
        views = [value for value in objects if is_array(value) and is_view(value)]
        if not views:
            return []
        if hasher.shared_arrays is None:
            hasher.shared_arrays = by_root(self.table.arrays())
        groups = hasher.shared_arrays
        beside = (each for view in views for each in groups.get(id(root_of(view)), ()))
        found = carriers([*views, *beside], self.table.token)
        return [found[id(view)] for view in views if id(view) in found]

    def agrees(self, group: Group) -> bool:
        """Whether the values are unchanged since both sides had the same content."""
        mark = self._marks.get(group.names)
        if mark is None or group.print is None or mark.stream != group.print.stream:
            return False
        return mark.tokens == tuple(map(self.table.token, group.print.objects))

    def knows(self, names: tuple[str, ...]) -> bool:
        """Whether a group of names has a mark."""
        return names in self._marks

    def transferred(self, group: Group) -> None:
        """Mark a group after a transfer, when both sides have the same content.

        Deletes marks of other groups with the same objects or names: an object, or a name, that is changed back to the
        state of such a mark would differ from the other side's.
        """
        if group.print is None:
            return
        self.drop(frozenset(group.names))
        self.drop_with(set(map(self.table.token, group.print.objects)) - {0})
        self.set(group)

    def set(self, group: Group) -> None:
        """Mark a group that is known from other marks to have the same content on both sides."""
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
        """Remove from the marks the tokens of objects that the other side has released.

        Tokens of objects that died on this side stay in their marks, because the other side still has the objects.
        """
        self.table.forget(tokens)
        released = frozenset(tokens)
        for names, mark in list(self._marks.items()) if released else ():
            if not released.isdisjoint(mark.tokens):
                kept = tuple(0 if token in released else token for token in mark.tokens)
                self._marks[names] = _Mark(mark.stream, kept)

    def drop(self, names: AbstractSet[str]) -> None:
        """Delete the marks of groups with names in which the two sides may differ."""
        for group in [group for group in self._marks if not names.isdisjoint(group)] if names else ():
            del self._marks[group]

    def drop_with(self, tokens: AbstractSet[int]) -> None:
        """Delete the marks of groups with objects in which the two sides differ."""
        for names in [names for names, mark in self._marks.items() if not tokens.isdisjoint(mark.tokens)]:
            del self._marks[names]

    def facts(self) -> dict[tuple[str, ...], tuple[bytes, tuple[int, ...]]]:
        """Return all marks, for the saved state: by the names of a group, the digest of its content and its tokens."""
        return {names: (mark.stream, mark.tokens) for names, mark in self._marks.items()}

    def resume(self, facts: Mapping[tuple[str, ...], tuple[bytes, tuple[int, ...]]]) -> None:
        """Take over the marks of the side that has ended."""
        self._marks = {names: _Mark(*mark) for names, mark in facts.items()}

    def clear(self) -> None:
        """Delete all marks, because the other side no longer exists."""
        self._marks.clear()


def objects_in(groups: Iterable[Group]) -> list[Any]:
    """Return the objects in the values of some groups that have an identity."""
    return [value for group in groups if group.print is not None for value in group.print.objects]


def names_of(groups: Iterable[Group]) -> set[str]:
    """Return all names of some groups."""
    return {name for group in groups for name in group.names}
