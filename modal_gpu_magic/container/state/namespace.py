"""The container side of a session's variables: receive them before a cell, choose and return them after the cell."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.state import files
from modal_gpu_magic.container.state.cell_values import Before, OutgoingValues
from modal_gpu_magic.container.state.handed import Handed
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.graph import Graph, groups_of
from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.marks import Group, Marks
from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.inspection.summary import bundle, summary
from modal_gpu_magic.wire.messages.events import (
    LAST_RESULTS,
    RESULT,
    Request,
    StayedValue,
    Transfer,
    token_in,
    token_name,
)
from modal_gpu_magic.wire.pickles.fingerprints import look, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.transfer import prepare, unpack
from modal_gpu_magic.wire.values.imports import bound_by_import
from modal_gpu_magic.wire.values.referenced_globals import is_name, reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.transfer import Packed

CHECK_SECONDS = 0.2
"""Seconds to compare values for changes in place after a cell; for a long cell, CHECK_SHARE of its time."""
CHECK_SHARE = 0.05
"""Share of a cell's own time that the comparison may take."""
ALWAYS_CHECKED_BYTES = 64_000_000
"""Values up to this size are always compared."""
_UNTOUCHED: Final = object()
"""Marker bound to an unbound name until the cell binds or deletes the name."""
UNCHECKED = "it may have changed, and is too large to compare"
HASH_BYTES_PER_SECOND = 5e9
"""A low estimate (measured: xxh3 hashes 31 GB/s; first access to memory pages, 9.9 GB/s)."""


@dataclass(slots=True)
class _Chosen:
    values: dict[str, Any]
    groups: list[Group]
    stays: dict[str, str]


class NamespaceSync:
    """The session's namespace, and the part of its values that the notebook has as well.

    Attributes:
        namespace: the variables of the session.
        hidden: the names that IPython binds, with their values.
        table: the objects that both sides have.
        marks: the content of the values that both sides have.
        handed: fetches that the notebook has not confirmed.
        known: names whose current values the notebook has.
        root: the working directory at the start of the session; a cell may change directory.
        watch: finds the files that a cell wrote below `root`.
    """

    def __init__(self, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.namespace, self.hidden = namespace, dict(hidden)
        self.table = IdentityTable(side=1)
        self.marks = Marks(namespace, self.table)
        self.handed = Handed(self.table)
        self.known: set[str] = set()
        self._definitions: dict[str, Any] = {}
        self.root = Path.cwd()
        self.watch = files.Watch(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """The user's names, without IPython's own."""
        return tuple(
            name for name, value in self.namespace.items() if is_name(name) and self._is_the_users(name, value)
        )

    def _is_the_users(self, name: str, value: Any) -> bool:
        """Whether the user has bound a name, including names such as `open` or `exit` that IPython binds as well."""
        if name in LAST_RESULTS or _is_history(name):
            return False
        if self._definitions.get(name, self) is value and name not in self.known:
            return False
        return name not in self.hidden or self.hidden[name] is not value

    def _bind_definitions(self, made: Mapping[str, Any], request: Request) -> None:
        """Bind the classes and functions that arrived with values to their names, so that pickle finds them.

        A cell that reads such a name gets the notebook's value of the name, or no value.
        """
        for name in self._definitions.keys() & set(request.reads):
            if self.namespace.get(name) is self._definitions[name] and name not in self.known:
                del self.namespace[name]
                del self._definitions[name]
        for name, value in made.items():
            if name not in self.namespace and name not in request.reads:
                self.namespace[name] = self._definitions[name] = value

    def arrive(self, request: Request, store: Store, *, restore_devices: bool = True) -> dict[str, str]:
        """Read the notebook's values; return the names that could not be made in the container, with the reason.

        Raises:
            UnknownObjectsError: the notebook refers to objects that the container does not have.
        """
        hasher = _hasher(store)
        self.handed.confirm(request.fetched)
        self.marks.forget(request.forgot)
        self._lose(request.drops)
        for name in request.drops:
            self.namespace.pop(name, None)
        arrived = unpack(
            request.values,
            self.namespace,
            store,
            hasher,
            table=self.table,
            bind=True,
            restore_devices=restore_devices,
        )
        values = {name: value for name, value in arrived.values.items() if name not in LAST_RESULTS}
        self._agree(self.marks.look(values, hasher))
        self._lose(arrived.failed)
        self._bind_definitions(arrived.made, request)
        return arrived.failed

    def before(self, request: Request, store: Store) -> Before:
        """Record the namespace just before user code begins."""
        identities = {name: id(self.namespace[name]) for name in self.names}
        reached = reach(request.reads, self.namespace) if request.reads else set()
        candidates = self._candidates(reached)
        hasher = _hasher(store)
        connected = self._connected(reached).difference(candidates)
        for names in (*self._groups(candidates), *self._groups(connected)):
            if not self.marks.knows(names):  # the notebook has the same values, but not yet compared as one group
                for group in self.marks.look({name: self.namespace[name] for name in names}, hasher):
                    self.marks.set(group)
        unbound = tuple(name for name in request.deletes if name not in self.namespace)
        self.namespace.update(dict.fromkeys(unbound, _UNTOUCHED))
        tokens = {name: self.table.token(self.namespace[name]) for name in candidates}
        moving = request.mutates.intersection(candidates, (*request.binds, *request.deletes))
        held = tuple(self.namespace[name] for name in moving if nbytes_of(self.namespace[name]) <= ALWAYS_CHECKED_BYTES)
        return Before(identities, tokens, unbound, held)

    def leave(
        self, request: Request, before: Before, result: tuple[Any, ...], seconds: float, store: Store
    ) -> OutgoingValues:
        """Choose the values to return: bound or changed, picklable, within the size limit; the largest stay first."""
        hasher = _hasher(store)
        bound = self._bound(request, before)
        values, left = self._values_before(before, bound)
        changed, unchecked = self._changed_in_place(request, values, seconds, hasher)
        without_name = left.intersection(changed)
        changed, unchecked = ([name for name in names if name not in left] for names in (changed, unchecked))
        imported = bound_by_import(bound, self.namespace, request.import_statements, request.stars)
        candidates = {name: self.namespace[name] for name in (*bound, *changed) if name not in imported}
        if result:
            candidates[RESULT] = result[0]
        chosen = self._choose(candidates, request, hasher)
        chosen.stays.update(dict.fromkeys(unchecked, UNCHECKED))
        if connected := self._changed_with(chosen.stays, candidates, hasher):
            candidates |= connected
            chosen = self._choose(candidates, request, hasher)
            chosen.stays.update(dict.fromkeys(unchecked, UNCHECKED))
        self._lose(chosen.stays)
        self._add_small_members(chosen, candidates, request, hasher)
        for name in sorted(without_name):
            if look([values[name]], self.namespace, hasher, graphs=True) is not None:
                chosen.values[token_name(before.candidates[name])] = values[name]
        packed = prepare(chosen.values, self.namespace, store, hasher, table=self.table)
        packed.arrived(self.table)
        self._agree(chosen.groups)
        self._agree(self.marks.look({name: self.namespace[name] for name in imported}, hasher))
        stays, stale = self._stays(chosen.stays, candidates, packed)
        gone = tuple(n for n in {*before.identities, *before.unbound} if n not in self.namespace)
        for name in before.unbound:
            if self.namespace.get(name) is _UNTOUCHED:
                del self.namespace[name]
        self._lose(gone)
        looks = {
            name: (type(value).__name__, summary(value)) for name, value in chosen.values.items() if _may_lack(value)
        }
        submodules = _submodules(chosen.values.values(), request.source)
        self.table.prune(lambda: reached_from(self.namespace.values(), self.namespace))
        return OutgoingValues(
            packed.transfer, stays, gone, looks, submodules, imported, stale, self.table.take_forgotten()
        )

    def take(self, names: Iterable[str], store: Store, received: Sequence[int] = ()) -> Transfer:
        """Pack values that stayed, by name or by token. `received`: first tokens of earlier fetches that arrived."""
        self.handed.confirm(received)
        values = {name: self._asked_for(name) for name in names}
        packed = prepare(values, self.namespace, store, _hasher(store), table=self.table)
        self.handed.add(packed)
        return packed.transfer

    def _asked_for(self, name: str) -> Any:
        token = token_in(name)
        if token is None:
            return self.namespace[name]
        if not self.table.has(token):
            raise KeyError(name)
        return self.table.find(token)

    def forget(self) -> None:
        """Forget all shared objects: the notebook starts a new session."""
        self.known.clear()
        self.marks.clear()
        self.table.clear()
        self.handed.confirm(())

    def _agree(self, groups: Iterable[Group]) -> None:
        """Record that the notebook has the current values of these groups."""
        for group in groups:
            self.marks.transferred(group)
            self.known.update(name for name in group.names if name != RESULT and group.print is not None)

    def _lose(self, names: Iterable[str]) -> None:
        """Record that the notebook has other values under these names, or none."""
        lost = frozenset(names)
        self.known -= lost
        self.marks.drop(lost)

    def _groups(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        return groups_of({name: self.namespace[name] for name in names}, self.namespace)

    def _connected(self, reached: set[str]) -> set[str]:
        """Return shared names whose values have objects in common with the values of `reached`."""
        known = self.known & self.namespace.keys()
        graph = Graph(self.namespace)
        for name in sorted(known | (reached & self.namespace.keys())):
            graph.add(name, self.namespace[name])
        return {name for group in graph.groups() if not reached.isdisjoint(group) for name in known.intersection(group)}

    def _candidates(self, reached: set[str]) -> tuple[str, ...]:
        """Return shared names whose values the cell may reach, also through a value that only the container has."""
        known = self.known & self.namespace.keys()
        own = [name for name in reached - known if name in self.namespace]
        if not own:
            return tuple(sorted(reached & known))
        graph = Graph(self.namespace)
        for name in (*own, *sorted(known)):
            graph.add(name, self.namespace[name])
        groups = [set(group) for group in graph.groups()]
        return tuple(sorted({name for group in groups if group & reached for name in group & known}))

    def _bound(self, request: Request, before: Before) -> tuple[str, ...]:
        """Return names that are new or bound to another object than before the cell."""
        now = {name: self.namespace[name] for name in self.names}
        then = before.identities
        moved = [name for name, value in now.items() if then.get(name) != id(value) and value is not _UNTOUCHED]
        results = [name for name in sorted(LAST_RESULTS.intersection(request.binds)) if name in self.namespace]
        return (*moved, *results)  # `for _ in …` binds a name that IPython uses

    def _values_before(self, before: Before, bound: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
        """Return the candidates' live values from before the cell, and the names rebound or deleted by the cell."""
        left = {name for name in before.candidates if name in bound or name not in self.namespace}
        values = {name: self.namespace[name] for name in before.candidates if name not in left}
        found = {name: self.table.find(before.candidates[name]) for name in left if before.candidates[name]}
        return values | {name: value for name, value in found.items() if value is not None}, left

    def _changed_in_place(
        self, request: Request, values: Mapping[str, Any], seconds: float, hasher: Hasher
    ) -> tuple[list[str], list[str]]:
        """Return names of values with changed content, and names of values too large to compare in time."""
        deadline = time.monotonic() + max(CHECK_SECONDS, seconds * CHECK_SHARE)
        changed: list[str] = []
        unchecked: list[str] = []
        groups = groups_of(values, self.namespace)
        sizes = {group: sum(nbytes_of(values[name]) for name in group) for group in groups}
        for names in sorted(groups, key=lambda group: sizes[group]):
            if (
                sizes[names] > ALWAYS_CHECKED_BYTES
                and time.monotonic() + sizes[names] / HASH_BYTES_PER_SECOND > deadline
            ):
                unchecked += () if request.mutates.isdisjoint(names) else names
                continue
            if not self.marks.agrees(self.marks.group(names, values, hasher)):
                changed += names
        return changed, unchecked

    def _changed_with(self, stays: Iterable[str], candidates: Mapping[str, Any], hasher: Hasher) -> dict[str, Any]:
        """Return values that the cell changed unread, because they share objects with staying values."""
        staying = {name: candidates.get(name, self.namespace.get(name)) for name in stays}
        known = {name: self.namespace[name] for name in self.known & self.namespace.keys() if name not in candidates}
        if not staying or not known:
            return {}
        graph = Graph(self.namespace)
        for name, value in (*staying.items(), *known.items()):
            graph.add(name, value)
        connected = {name for group in graph.groups() if not staying.keys().isdisjoint(group) for name in group}
        found = {name: known[name] for name in connected & known.keys()}
        return {
            name: found[name]
            for group in self.marks.look(found, hasher)
            if self.marks.knows(group.names) and not self.marks.agrees(group)
            for name in group.names
        }

    def _choose(self, candidates: Mapping[str, Any], request: Request, hasher: Hasher) -> _Chosen:
        chosen = _Chosen({}, [], {})
        left = request.fetch_bytes
        for name in sorted(candidates, key=lambda n: (n not in request.fetch_names, nbytes_of(candidates[n]))):
            value = candidates[name]
            size = 0 if isinstance(value, ModuleType) else nbytes_of(value)  # a module is sent by name only
            asked = name in request.fetch_names
            if size > left and not asked:
                limit = size_text(request.fetch_bytes).replace(" ", "")
                chosen.stays[name] = f"{size_text(size)} does not fit --fetch {limit}"
                continue
            chosen.values[name] = value
            left -= 0 if asked else size
        for group in self.marks.look(chosen.values, hasher):
            if group.print is None:
                for name in group.names:
                    why = why_not(chosen.values.pop(name), self.namespace)
                    chosen.stays[name] = f"it does not pickle: {why}"
            else:
                chosen.groups.append(group)
        return chosen

    def _add_small_members(
        self, chosen: _Chosen, candidates: Mapping[str, Any], request: Request, hasher: Hasher
    ) -> None:
        """Add small members of staying values that have a name in the notebook but no name in the container."""
        staying = [candidates.get(name, self.namespace.get(name)) for name in chosen.stays]
        if not staying or not request.named:
            return
        reached = reached_from(staying, self.namespace)
        left = request.fetch_bytes - sum(map(nbytes_of, chosen.values.values()))
        found = [(token, self.table.find(token)) for token in request.named if self.table.has(token)]
        for token, value in sorted(found, key=lambda pair: nbytes_of(pair[1])):
            size = nbytes_of(value)
            if id(value) in reached and size <= left and look([value], self.namespace, hasher, graphs=True) is not None:
                chosen.values[token_name(token)] = value
                left -= size

    def _stays(
        self, whys: Mapping[str, str], candidates: Mapping[str, Any], packed: Packed
    ) -> tuple[tuple[StayedValue, ...], tuple[int, ...]]:
        """Return the values that stay, and the tokens of objects whose current content stays with these values."""
        if not whys:
            return (), ()
        current = reached_from([self.namespace[name] for name in self.known & self.namespace.keys()], self.namespace)
        named = packed.named
        stays: list[StayedValue] = []
        stale: set[int] = set()
        for name, why in whys.items():
            value = candidates[name] if name in candidates else self.namespace[name]
            found = reached_from([value], self.namespace)
            tokens = {self.table.token_of[key] for key in found if key in self.table.token_of}
            only_staying = {
                self.table.token_of[key] for key in found if key in self.table.token_of and key not in current
            }
            stale |= only_staying - named
            shares = tuple(sorted(tokens - only_staying | (tokens & named)))
            stays.append(self._stay(name, value, why, shares))
        return tuple(stays), tuple(sorted(stale))

    @staticmethod
    def _stay(name: str, value: Any, why: str, shares: tuple[int, ...]) -> StayedValue:
        return StayedValue(name, type(value).__name__, summary(value), why, bundle(value), shares=shares)


def _may_lack(value: Any) -> bool:
    """Whether the notebook may lack the package needed to make such a value."""
    return isinstance(value, ModuleType) or type(value).__module__ not in ("builtins", "__main__")


def _submodules(values: Iterable[Any], source: str) -> tuple[str, ...]:
    """Return loaded submodules of the returned modules that the cell's text names with dots."""
    heads = [value.__name__ + "." for value in values if isinstance(value, ModuleType)]
    named = {match[0] for match in re.finditer(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", source)} if heads else set()
    return tuple(name for name in sorted(named) if name in sys.modules and name.startswith(tuple(heads)))


def _hasher(store: Store) -> Hasher:
    return Hasher(unwritten=getattr(store, "unwritten", None))


def _is_history(name: str) -> bool:
    """Whether a name is an input or output of IPython (`_i`, `_i3`, `_3`), bound after `hidden` is read."""
    return name in ("_i", "_ii", "_iii") or (name.startswith("_") and name.lstrip("_i").isdigit())
