"""The names of the notebook that are covered: their own values are out of date.

An object is stale if it changed in the container and the change was not returned. A name whose value is or holds a
stale object is covered: the name is bound to a remote value until all objects of its own value are current again.
"""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.events import is_result
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.referenced_globals import is_name
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, own_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.wire.pickles.identity import IdentityTable


class Covers:
    """The covered names of one session, and the remote values that cover them."""

    def __init__(
        self, session: str, namespace: dict[str, Any], hidden: Mapping[str, Any], table: IdentityTable
    ) -> None:
        self.session, self.namespace, self.hidden, self.table = session, namespace, hidden, table
        self._covers: weakref.WeakSet[RemoteValue] = weakref.WeakSet()
        self._uncovered: dict[str, int] = {}
        """Names that were covered, with the `id` of their own value."""

    def all(self) -> tuple[RemoteValue, ...]:
        """The remote values that cover names, or have covered names."""
        return tuple(self._covers)

    def clear(self) -> None:
        """Forget all: the container has ended."""
        self._covers.clear()
        self._uncovered.clear()

    def forget_name(self, name: str) -> None:
        """Forget a name that the container has bound to another value, or deleted."""
        self._uncovered.pop(name, None)

    def is_covered(self, name: str) -> bool:
        """Whether a name is covered by a remote value."""
        value = self.namespace.get(name)
        return type(value) is RemoteValue and bool(own_of(value)) and facts(value).session == self.session

    def is_uncovered(self, name: str) -> bool:
        """Whether a name was covered, and is bound to its own value again."""
        return name in self.namespace and self._uncovered.get(name) == id(self.namespace[name])

    def own(self, name: str) -> Any:
        """The value of a name; for a covered name, the kernel's own value."""
        value = self.namespace[name]
        return own_of(value)[0] if self.is_covered(name) else value

    def stale_in(self, value: Any) -> list[int]:
        """Tokens of the stale objects in a value."""
        found = (self.table.token_of.get(key) for key in reached_from((value,), self.namespace))
        return sorted(token for token in found if token in self.table.stale)

    def cover(self, fetch: Callable[[RemoteValue], Any]) -> None:
        """Bind each name whose value reaches a stale object to a remote value."""
        ids = {id(self.table.find(token)) for token in self.table.stale}
        covers: dict[int, RemoteValue] = {}
        for name in sorted(self.reaching(ids)):
            value = self.namespace[name]
            if id(value) not in covers:
                why = "it holds values that changed in the container and were not returned"
                line = "" if self.table.token(value) in self.table.stale else summary(value)
                remote = RemoteValue(name, self.session, type(value).__name__, line, why, fetch=fetch, own=(value,))
                covers[id(value)] = remote
                self._covers.add(remote)
            self.namespace[name] = covers[id(value)]

    def uncover(self) -> None:
        """Bind each covered name to its own value again once all objects of that value are current."""
        if not self._covers:
            return
        for name in list(self.namespace):
            if self.is_covered(name) and not self.stale_in(value := self.own(name)):
                self.namespace[name] = value
                self._uncovered[name] = id(value)

    def reaching(self, ids: AbstractSet[int]) -> set[str]:
        """The user's names whose values reach an object with one of the given ids."""
        found = set()
        for name, value in list(self.namespace.items()):
            if not is_name(name) or name in self.hidden or is_result(name) or is_a(value, ModuleType | RemoteValue):
                continue
            if not ids.isdisjoint(reached_from((value,), self.namespace)):
                found.add(name)
        return found
