"""Replace outdated values in the notebook by remote values.

An object is stale if it changed in the container and the change was not returned. A name whose value is or holds a
stale object is covered: the name is bound to a remote value until all objects of its own value are current again.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.events import LAST_RESULTS, Shared, is_numbered, token_name
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.referenced_globals import is_name
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, is_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.wire.pickles.identity import IdentityTable


class StandIns:
    """The covered names of one session.

    Attributes:
        shares: for the name of a value in the container, tokens of its objects that the kernel may have as well.
        reads: for the name of a value in the container, names of the notebook that functions in the value read.
    """

    def __init__(
        self, session: str, namespace: dict[str, Any], hidden: Mapping[str, Any], table: IdentityTable
    ) -> None:
        self.session, self.namespace, self.hidden, self.table = session, namespace, hidden, table
        self.shares: dict[str, frozenset[int]] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        self._covered: dict[str, tuple[RemoteValue, Any]] = {}
        self._uncovered: dict[str, int] = {}
        """Names that were covered, with the `id` of their own value."""

    def is_reachable(self, value: Any) -> bool:
        """Whether a value is a remote value of this session's running container."""
        return type(value) is RemoteValue and facts(value).session == self.session and not is_lost(value)

    def forget_name(self, name: str) -> None:
        """Forget a name that was bound to another value."""
        self._covered.pop(name, None)
        self._uncovered.pop(name, None)
        self.shares.pop(name, None)
        self.reads.pop(name, None)

    def clear(self) -> None:
        """Forget all names after the container has ended."""
        self._covered.clear()
        self._uncovered.clear()
        self.shares.clear()
        self.reads.clear()

    def share(self, shares: Mapping[str, Shared]) -> None:
        """Note what values in the container share with the kernel."""
        for name, shared in shares.items():
            self.shares[name], self.reads[name] = frozenset(shared.tokens), shared.names

    def share_fetched(self, tokens: AbstractSet[int]) -> None:
        """Note that any value in the container may hold the objects of a fetched value, until an answer says more."""
        for name in [name for name in self.namespace if self.is_reachable(self.own(name))]:
            self.shares[name] = self.shares.get(name, frozenset()) | tokens

    def to_fetch(self, name: str) -> tuple[str, ...]:
        """What to request to fetch a value: its name or, for a covered name, tokens of its stale objects."""
        if name not in self._covered:
            return (name,)
        return tuple(map(token_name, self.stale_in(self._covered[name][1])))

    def is_covered(self, name: str) -> bool:
        """Whether a name is covered by a remote value."""
        return name in self._covered

    def is_uncovered(self, name: str) -> bool:
        """Whether a name was covered, and is bound to its own value again."""
        return name in self.namespace and self._uncovered.get(name) == id(self.namespace[name])

    def own(self, name: str) -> Any:
        """The value of a name; for a covered name, the kernel's own value."""
        value = self.namespace[name]
        covered = self._covered.get(name)
        return covered[1] if covered is not None and covered[0] is value else value

    def shared_with_remote(self, names: AbstractSet[str]) -> set[str]:
        """Names whose values the cell may reach through remote values among `names`."""
        remote = [name for name in names if name in self.namespace and self.is_reachable(self.namespace[name])]
        ids: set[int] = set()
        for name in remote:
            if name in self._covered:
                ids |= reached_from((self._covered[name][1],), self.namespace).keys()
            else:
                ids |= {id(self.table.find(token)) for token in self.shares.get(name, ()) if self.table.has(token)}
        read = {name for each in remote for name in self.reads.get(each, ()) if name in self.namespace}
        return read | self._reaching(ids) if ids else read

    def _reaching(self, ids: AbstractSet[int]) -> set[str]:
        """The user's names whose values reach an object with one of the given ids."""
        found = set()
        for name, value in list(self.namespace.items()):
            if not is_name(name) or name in self.hidden or is_result(name) or is_a(value, ModuleType | RemoteValue):
                continue
            if not ids.isdisjoint(reached_from((value,), self.namespace)):
                found.add(name)
        return found

    def stale_in(self, value: Any) -> list[int]:
        """Tokens of the stale objects in a value."""
        found = (self.table.token_of.get(key) for key in reached_from((value,), self.namespace))
        return sorted(token for token in found if token in self.table.stale)

    def cover(self, fetch: Callable[[str], Any]) -> None:
        """Bind each name whose value reaches a stale object to a remote value."""
        ids = {id(self.table.find(token)) for token in self.table.stale}
        for name in self._reaching(ids):
            value = self.namespace[name]
            why = "it holds values that changed in the container and were not returned"
            line = "" if self.table.token(value) in self.table.stale else summary(value)
            remote = RemoteValue(name, self.session, type(value).__name__, line, why, fetch=fetch)
            self._covered[name] = remote, value
            self.namespace[name] = remote

    def uncover(self) -> None:
        """Bind each covered name to its own value again once all objects of that value are current."""
        for name, (remote, value) in list(self._covered.items()):
            if self.namespace.get(name) is not remote:
                del self._covered[name]
            elif not self.stale_in(value):
                self.namespace[name] = value
                self._uncovered[name] = id(value)
                del self._covered[name]


def is_result(name: str) -> bool:
    """Whether IPython stores a cell's result under a name: `_`, `__`, `_12`."""
    return name in LAST_RESULTS or is_numbered(name)
