"""The container's side of a session's variables: what arrives before a cell, what goes home after it, what stays."""

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
"""Time to look for values changed in place after a cell; a long cell may take a twentieth of its own time instead."""
CHECK_SHARE = 0.05
SURE_BYTES = 64_000_000
"""Values up to this size are looked at in any case."""
_UNTOUCHED: Final = object()
"""Bound to a name until the cell binds or unbinds the name."""
UNCHECKED = "it may have changed, and is too large to compare"
HASH_BYTES_PER_SECOND = 5e9
"""A cautious estimate (measured: xxh3 hashes 31 GB/s, first touch of pages 9.9 GB/s)."""


@dataclass(slots=True)
class _Chosen:
    values: dict[str, Any]
    groups: list[Group]
    stays: dict[str, str]


class NamespaceSync:
    """The session's namespace with what the notebook is known to have of it.

    Attributes:
        table: the objects that the notebook has, too. known: names whose values the notebook has as they are here.
    """

    def __init__(self, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.namespace, self.hidden = namespace, dict(hidden)
        self.table = IdentityTable(side=1)
        self.marks = Marks(namespace, self.table)
        self.handed = Handed(self.table)
        self.known: set[str] = set()
        self._definitions: dict[str, Any] = {}
        self.root = Path.cwd()
        """Where the session began: a cell may change the working directory."""
        self.watch = files.Watch(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """User names, less IPython's own."""
        return tuple(
            name for name, value in self.namespace.items() if is_name(name) and self._is_the_users(name, value)
        )

    def _is_the_users(self, name: str, value: Any) -> bool:
        """Whether the user has bound a name: also one like `open` or `exit` that IPython binds."""
        if name in LAST_RESULTS or _is_history(name):
            return False
        if self._definitions.get(name, self) is value and name not in self.known:
            return False
        return name not in self.hidden or self.hidden[name] is not value

    def _bind_definitions(self, made: Mapping[str, Any], request: Request) -> None:
        """Let pickle find the classes and functions by name that came along with values.

        A cell that names one gets what the notebook has under the name, or nothing.
        """
        for name in self._definitions.keys() & set(request.reads):
            if self.namespace.get(name) is self._definitions[name] and name not in self.known:
                del self.namespace[name]
                del self._definitions[name]
        for name, value in made.items():
            if name not in self.namespace and name not in request.reads:
                self.namespace[name] = self._definitions[name] = value

    def arrive(self, request: Request, store: Store, *, restore_devices: bool = True) -> dict[str, str]:
        """Take in what the notebook sent; returns the names that could not be made here, with the reason.

        Raises:
            UnknownObjectsError: the notebook names objects that are not here.
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
        """Look at the namespace just before user code begins."""
        identities = {name: id(self.namespace[name]) for name in self.names}
        reached = reach(request.reads, self.namespace) if request.reads else set()
        candidates = self._candidates(reached)
        hasher = _hasher(store)
        connected = self._connected(reached).difference(candidates)
        for names in (*self._groups(candidates), *self._groups(connected)):
            if not self.marks.knows(names):  # the notebook has these alike, but not looked at together so far
                for group in self.marks.look({name: self.namespace[name] for name in names}, hasher):
                    self.marks.set(group)
        unbound = tuple(name for name in request.deletes if name not in self.namespace)
        self.namespace.update(dict.fromkeys(unbound, _UNTOUCHED))
        tokens = {name: self.table.token(self.namespace[name]) for name in candidates}
        moving = request.mutates.intersection(candidates, (*request.binds, *request.deletes))
        held = tuple(self.namespace[name] for name in moving if nbytes_of(self.namespace[name]) <= SURE_BYTES)
        return Before(identities, tokens, unbound, held)

    def leave(
        self, request: Request, before: Before, result: tuple[Any, ...], seconds: float, store: Store
    ) -> OutgoingValues:
        """Choose what goes home: names bound or changed that pickle and together fit; the biggest stay first."""
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
        """Values that stayed, asked for by name, or objects by their token (`StayedValue.shares`).

        `received`: transfers taken before that have arrived, by their first token.
        """
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
        """The notebook begins anew: neither side knows objects of the other."""
        self.known.clear()
        self.marks.clear()
        self.table.clear()
        self.handed.confirm(())

    def _agree(self, groups: Iterable[Group]) -> None:
        """The notebook has these values as they are here."""
        for group in groups:
            self.marks.transferred(group)
            self.known.update(name for name in group.names if name != RESULT and group.print is not None)

    def _lose(self, names: Iterable[str]) -> None:
        """The notebook has other values under these names, or none."""
        lost = frozenset(names)
        self.known -= lost
        self.marks.drop(lost)

    def _groups(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        return groups_of({name: self.namespace[name] for name in names}, self.namespace)

    def _connected(self, reached: set[str]) -> set[str]:
        """Names that the notebook has, too, and whose values share objects with those of some names."""
        known = self.known & self.namespace.keys()
        graph = Graph(self.namespace)
        for name in sorted(known | (reached & self.namespace.keys())):
            graph.add(name, self.namespace[name])
        return {name for group in graph.groups() if not reached.isdisjoint(group) for name in known.intersection(group)}

    def _candidates(self, reached: set[str]) -> tuple[str, ...]:
        """Names that the notebook has, too, and whose values the cell may reach: also through one that only is here."""
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
        """Names that are new, or another object than before the cell."""
        now = {name: self.namespace[name] for name in self.names}
        then = before.identities
        moved = [name for name, value in now.items() if then.get(name) != id(value) and value is not _UNTOUCHED]
        results = [name for name in sorted(LAST_RESULTS.intersection(request.binds)) if name in self.namespace]
        return (*moved, *results)  # `for _ in …` binds a name of IPython's

    def _values_before(self, before: Before, bound: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
        """The values that the candidates had before the cell, as far as they live; and which names have left theirs."""
        left = {name for name in before.candidates if name in bound or name not in self.namespace}
        values = {name: self.namespace[name] for name in before.candidates if name not in left}
        found = {name: self.table.find(before.candidates[name]) for name in left if before.candidates[name]}
        return values | {name: value for name, value in found.items() if value is not None}, left

    def _changed_in_place(
        self, request: Request, values: Mapping[str, Any], seconds: float, hasher: Hasher
    ) -> tuple[list[str], list[str]]:
        """Names of values that have another content now, and those too large to tell within the time."""
        deadline = time.monotonic() + max(CHECK_SECONDS, seconds * CHECK_SHARE)
        changed: list[str] = []
        unchecked: list[str] = []
        groups = groups_of(values, self.namespace)
        sizes = {group: sum(nbytes_of(values[name]) for name in group) for group in groups}
        for names in sorted(groups, key=lambda group: sizes[group]):
            if sizes[names] > SURE_BYTES and time.monotonic() + sizes[names] / HASH_BYTES_PER_SECOND > deadline:
                unchecked += () if request.mutates.isdisjoint(names) else names
                continue
            if not self.marks.agrees(self.marks.group(names, values, hasher)):
                changed += names
        return changed, unchecked

    def _changed_with(self, stays: Iterable[str], candidates: Mapping[str, Any], hasher: Hasher) -> dict[str, Any]:
        """Values that share objects with those that stay, and changed with them, though the cell reads them not."""
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
            for names in self.marks.within(group.names)  # the run may have joined groups
            if not self.marks.agrees(group if names == group.names else self.marks.group(names, found, hasher))
            for name in names
        }

    def _choose(self, candidates: Mapping[str, Any], request: Request, hasher: Hasher) -> _Chosen:
        chosen = _Chosen({}, [], {})
        left = request.fetch_bytes
        for name in sorted(candidates, key=lambda n: (n not in request.fetch_names, nbytes_of(candidates[n]))):
            value = candidates[name]
            size = 0 if isinstance(value, ModuleType) else nbytes_of(value)  # a module travels by its name
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
        """Of what stays, the objects that have a name in the notebook go home where they fit, without a name here."""
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
        """The values that stay, and the tokens of objects whose current content stays with them."""
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
            mine = {self.table.token_of[key] for key in found if key in self.table.token_of and key not in current}
            stale |= mine - named
            shares = tuple(sorted(tokens - mine | (tokens & named)))
            stays.append(self._stay(name, value, why, shares))
        return tuple(stays), tuple(sorted(stale))

    @staticmethod
    def _stay(name: str, value: Any, why: str, shares: tuple[int, ...]) -> StayedValue:
        return StayedValue(name, type(value).__name__, summary(value), why, bundle(value), shares=shares)


def _may_lack(value: Any) -> bool:
    """Whether a notebook may be unable to make such a value, for want of a package."""
    return isinstance(value, ModuleType) or type(value).__module__ not in ("builtins", "__main__")


def _submodules(values: Iterable[Any], source: str) -> tuple[str, ...]:
    """Loaded modules below those that go home, as far as the cell's text names them with dots."""
    heads = [value.__name__ + "." for value in values if isinstance(value, ModuleType)]
    named = {match[0] for match in re.finditer(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", source)} if heads else set()
    return tuple(name for name in sorted(named) if name in sys.modules and name.startswith(tuple(heads)))


def _hasher(store: Store) -> Hasher:
    return Hasher(unwritten=getattr(store, "unwritten", None))


def _is_history(name: str) -> bool:
    """IPython's inputs and outputs (`_i`, `_i3`, `_3`): they come later than the shell, so `hidden` lacks them."""
    return name in ("_i", "_ii", "_iii") or (name.startswith("_") and name.lstrip("_i").isdigit())
