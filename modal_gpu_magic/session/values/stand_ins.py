"""Names whose values here would be old, since their objects changed in the container and stayed there.

A name bound to such an object, or to one that holds such an object, is covered: a remote value stands for the value
until all its objects are current again.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.events import LAST_RESULTS, token_name
from modal_gpu_magic.wire.values.referenced_globals import is_name
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.wire.pickles.identity import IdentityTable


class StandIns:
    """The covered names of one session.

    Attributes:
        shares: by the name of a value that stayed, tokens of objects in it that are current here.
    """

    def __init__(
        self, session: str, namespace: dict[str, Any], hidden: Mapping[str, Any], table: IdentityTable
    ) -> None:
        self.session, self.namespace, self.hidden, self.table = session, namespace, hidden, table
        self.shares: dict[str, tuple[int, ...]] = {}
        self._covered: dict[str, tuple[RemoteValue, Any]] = {}

    def lives_there(self, value: Any) -> bool:
        """Whether a value is one that only the session's container has."""
        return type(value) is RemoteValue and facts(value).session == self.session and not is_gone(value)

    def forget_name(self, name: str) -> None:
        """A name was bound to something else."""
        self._covered.pop(name, None)
        self.shares.pop(name, None)

    def clear(self) -> None:
        """The container is gone."""
        self._covered.clear()
        self.shares.clear()

    def to_fetch(self, name: str) -> tuple[str, ...]:
        """What to ask the container for, to have a value here: its name, or the objects in it that are old here."""
        if name not in self._covered:
            return (name,)
        return tuple(map(token_name, self.stale_in(self._covered[name][1])))

    def is_covered(self, name: str) -> bool:
        """Whether a remote value stands for what a name is bound to."""
        return name in self._covered

    def own(self, name: str) -> Any:
        """What a name is bound to here; for one that is covered, the object itself."""
        value = self.namespace[name]
        covered = self._covered.get(name)
        return covered[1] if covered is not None and covered[0] is value else value

    def shared_with_remote(self, names: set[str]) -> set[str]:
        """Names whose values share objects with remote values among `names`: the cell may reach them through those."""
        tokens = {token for name in names for token in self.shares.get(name, ()) if self.lives_there(self.own(name))}
        ids = {id(self.table.find(token)) for token in tokens if self.table.has(token)}
        return self._reaching(ids) if ids else set()

    def _reaching(self, ids: AbstractSet[int]) -> set[str]:
        """Names of the user's whose values reach one of some objects."""
        found = set()
        for name, value in list(self.namespace.items()):
            if (
                not is_name(name)
                or name in self.hidden
                or is_result(name)
                or isinstance(value, ModuleType | RemoteValue)
            ):
                continue
            if not ids.isdisjoint(reached_from((value,), self.namespace)):
                found.add(name)
        return found

    def stale_in(self, value: Any) -> list[int]:
        """Tokens of the objects in a value that are old here."""
        found = (self.table.token_of.get(key) for key in reached_from((value,), self.namespace))
        return sorted(token for token in found if token in self.table.stale)

    def cover(self, fetch: Callable[[str], Any]) -> None:
        """Names that would show the old state of what stayed in the container stand for remote values, too."""
        ids = {id(self.table.find(token)) for token in self.table.stale}
        for name in self._reaching(ids):
            value = self.namespace[name]
            why = "it holds values that changed in the container and stayed there"
            shell = RemoteValue(name, self.session, type(value).__name__, summary(value), why, fetch=fetch)
            self._covered[name] = shell, value
            self.namespace[name] = shell

    def uncover(self) -> None:
        """Names whose objects are all current again get them back."""
        for name, (shell, value) in list(self._covered.items()):
            if self.namespace.get(name) is not shell:
                del self._covered[name]
            elif not self.stale_in(value):
                self.namespace[name] = value
                del self._covered[name]


def is_result(name: str) -> bool:
    """Whether IPython keeps a result under a name: `_`, `__`, `_12`."""
    return name in LAST_RESULTS or (name.startswith("_") and name[1:].isdigit())
