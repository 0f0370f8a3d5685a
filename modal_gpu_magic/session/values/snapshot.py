"""The values that a queued cell is to see: those of the time when it was queued, with the changes of earlier cells."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.marks import names_of
from modal_gpu_magic.wire.transfer import pack, unpack
from modal_gpu_magic.wire.values.remote import RemoteValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modal_gpu_magic.wire.inspection.marks import Group, Marks

_GONE: Any = object()


class Snapshot:
    """A copy of values, used for those that the notebook itself changes before the cell is sent.

    The notebook calls `note_changes` before it takes in the values of an earlier cell: a value that differs then was
    changed by the notebook, and the queued cell gets the copy. All other values are the notebook's own objects, with
    the changes of the earlier cells, as if the cells had run one after the other.

    Args:
        session: the session's name.
        namespace: the notebook's variables.
        marks: makes the fingerprints.
        values: the values that the cell reads, by name.
        remote: the remote values that the cell reads, by name: these need no copy.
    """

    def __init__(
        self,
        session: str,
        namespace: dict[str, Any],
        marks: Marks,
        values: Mapping[str, Any],
        remote: Mapping[str, RemoteValue],
    ) -> None:
        self._namespace, self._marks = namespace, marks
        self._remote = dict(remote)
        self._rebound: set[str] = set()
        """Names of remote values that the notebook has bound again."""
        hasher = Hasher()
        self._groups = {group.names: group for group in marks.look(values, hasher) if group.print is not None}
        self._values = {name: values[name] for name in sorted(names_of(self._groups.values()))}
        self._bound = {name: namespace.get(name, _GONE) for name in self._values}
        self._transfer = pack(self._values, namespace, InlineStore(), hasher, session=session)
        self._changed: set[str] = set()
        hasher.release()

    def note_changes(self) -> None:
        """Note the values that the notebook has changed or bound again since the last look."""
        hasher = Hasher()
        for names, group in self._groups.items():
            if not self._changed.issuperset(names) and not self._is_unchanged(group, hasher):
                self._changed.update(names)
        self._rebound |= {name for name, value in self._remote.items() if self._namespace.get(name) is not value}
        hasher.release()

    def took_in(self) -> None:
        """Note that an earlier cell has changed values: from now on, these count as those that the cell is to see."""
        hasher = Hasher()
        for names in [names for names in self._groups if not self._changed.issuperset(names)]:
            now = {name: self._namespace[name] for name in names if name in self._namespace}
            if len(now) == len(names):
                self._groups[names] = self._marks.group(names, now, hasher)
                self._values.update(now)
                self._bound.update(now)
            else:  # an earlier cell deleted one of them
                del self._groups[names]
        now = {name: self._namespace.get(name) for name in self._remote.keys() - self._rebound}
        for name, value in now.items():
            if type(value) is RemoteValue:
                self._remote[name] = value
            else:  # an earlier cell has returned the value, or deleted the name
                del self._remote[name]
        hasher.release()

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Bind the copies of the changed values inside the block, and the remote values."""
        self.note_changes()
        values: dict[str, Any] = {name: self._remote[name] for name in self._rebound}
        if self._changed:
            store = InlineStore(dict(self._transfer.inline))
            copies = unpack(self._transfer, self._namespace, store).values
            values |= {name: copies[name] for name in self._changed & copies.keys()}
        before = {name: self._namespace.get(name, _GONE) for name in values}
        self._namespace.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is _GONE:
                    self._namespace.pop(name, None)
                else:
                    self._namespace[name] = value

    def _is_unchanged(self, group: Group, hasher: Hasher) -> bool:
        if any(self._namespace.get(name, _GONE) is not self._bound[name] for name in group.names):
            return False
        found = self._marks.group(group.names, self._values, hasher)
        return found.print is not None and group.print is not None and found.print.stream == group.print.stream
