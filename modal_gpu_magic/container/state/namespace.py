"""The container side of a session's variables: receive them before a cell, choose and return them after the cell."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from modal_gpu_magic.container.process.output_owner import without_output
from modal_gpu_magic.container.state import files
from modal_gpu_magic.container.state.cell_values import Before, OutgoingValues
from modal_gpu_magic.container.state.descriptions import Descriptions, shows_any
from modal_gpu_magic.container.state.handed import Handed
from modal_gpu_magic.errors import NoRoomError
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.graph import Graph, groups_of
from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.marks import Group, Marks
from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.events import (
    LAST_RESULTS,
    OUTPUTS,
    RESULT,
    Request,
    Shared,
    Transfer,
    is_numbered,
    token_in,
    token_name,
)
from modal_gpu_magic.wire.pickles.fingerprints import look, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable, base_of
from modal_gpu_magic.wire.pickles.pickling import OUT_OF_BAND_BYTES
from modal_gpu_magic.wire.pickles.types.shared_memory import Spans
from modal_gpu_magic.wire.transfer import Packed, prepare, unpack
from modal_gpu_magic.wire.values.imports import Import, bound_by_import
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.referenced_globals import is_name, reach
from modal_gpu_magic.wire.values.resizing import named_in, resizes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.messages.events import StayedValue
    from modal_gpu_magic.wire.saved.manifest import SavedGroup, SyncFacts
    from modal_gpu_magic.wire.saved.reading import LoadedGroup

SMALL_BYTES = OUT_OF_BAND_BYTES - 1
"""Size of all values that fit into the message, whatever they are made of."""
CHECK_SECONDS = 0.2
"""Seconds to compare values for changes in place after a cell; for a long cell, CHECK_SHARE of its time."""
CHECK_SHARE = 0.05
"""Share of a cell's own time that the comparison may take."""
ALWAYS_CHECKED_BYTES = 64_000_000
"""Values up to this size are always compared."""
_T = TypeVar("_T")
_UNTOUCHED: Final = object()
"""Marker bound to an unbound name until the cell binds or deletes the name."""
IN_CONTAINER = "it was bound before this kernel attached"
UNCHECKED = "it may have changed, and is too large to compare"
HASH_BYTES_PER_SECOND = 5e9
"""A low estimate (measured: xxh3 hashes 31 GB/s; first access to memory pages, 9.9 GB/s)."""


@dataclass(slots=True)
class _Chosen:
    values: dict[str, Any]
    groups: list[Group]
    stays: dict[str, str]

    def room(self, fetch_bytes: int) -> int:
        """Return the bytes that may still be returned."""
        return fetch_bytes - sum(map(nbytes_of, self.values.values()))


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a cell may return.

    Attributes:
        values: values that the cell has bound or changed, and its result.
        imported: names that the cell bound by an import statement.
        bound: names that the cell has bound.
        nameless: values that the cell has changed before they lost their name.
        unchecked: names of values that may have changed and are too large to compare.
    """

    values: dict[str, Any]
    imported: dict[str, Import]
    bound: tuple[str, ...]
    nameless: list[Any]
    unchecked: list[str]


def _in_room(request: Request, pack: Callable[..., _T]) -> _T:
    """Pack values within the limit of a request; if the shared memory is full, the small ones that need none of it."""
    try:
        return pack(request)
    except NoRoomError as error:
        inner = error.__cause__
        why = str(inner if isinstance(inner, NoRoomError) else error)
        return pack(replace(request, fetch_bytes=SMALL_BYTES, fetch_names=()), why)


class NamespaceSync:
    """The session's namespace, and the part of its values that the notebook has as well.

    Attributes:
        namespace: the variables of the session.
        hidden: the names that IPython binds, with their values.
        table: the objects that both sides have.
        marks: the content of the values that both sides have.
        handed: fetches that the notebook has not confirmed.
        known: names that are bound to the same objects in the notebook.
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
        self._stale: dict[int, Any] = {}
        """Objects by token whose content is newer than the notebook's. They are held: the notebook may fetch them."""
        self._shares: dict[str, Shared] = {}
        """What the notebook knows of the values that only the container has."""
        self._descriptions = Descriptions()
        self.last_result = ""
        """The name of the last run's result; empty: it had none."""
        self.unrestored: dict[str, str] = {}
        """Names of the container before whose values are lost, with the reason."""
        self.waiting: dict[str, SavedGroup] = {}
        """Names whose values are saved and not yet loaded."""
        self.root = Path.cwd()
        self.watch = files.Watch(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """The user's names, without IPython's own; those whose values are not yet loaded as well."""
        return (*self.bound_names, *(name for name in self.waiting if is_name(name) and not _is_history(name)))

    @property
    def bound_names(self) -> tuple[str, ...]:
        """The user's names that are bound."""
        hidden = self.hidden
        others = [item for item in self.namespace.items() if hidden.get(item[0], self) is not item[1]]
        return tuple(name for name, value in others if is_name(name) and self._is_the_users(name, value))

    def _is_the_users(self, name: str, value: Any) -> bool:
        """Whether the user has bound a name, including names such as `open` or `exit` that IPython binds as well."""
        if self.hidden.get(name, self) is value or name in LAST_RESULTS or _is_history(name):
            return False
        return self._definitions.get(name, self) is not value or name in self.known

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
        self._note_received(request.fetched, request.forgot)
        self._lose(request.drops)
        for name in (*request.drops, *request.values.names):
            self.discard(name)
        for name in request.values.names:
            self.unrestored.pop(name, None)
        dropped = [self.namespace.pop(name, None) for name in request.drops]  # the values may refer to objects in them
        arrived = unpack(
            request.values,
            self.namespace,
            store,
            hasher,
            table=self.table,
            bind=True,
            restore_devices=restore_devices,
        )
        del dropped
        outputs = self.namespace.get(OUTPUTS[0], {})
        outputs.update({int(name[1:]): value for name, value in arrived.values.items() if is_numbered(name)})
        values = {name: value for name, value in arrived.values.items() if name not in LAST_RESULTS}
        self._agree(self.marks.look(values, hasher))
        self._lose(arrived.failed)
        self._bind_definitions(arrived.made, request)
        return arrived.failed

    def before(self, request: Request, store: Store) -> Before:
        """Record the namespace just before user code begins."""
        identities = {name: id(self.namespace[name]) for name in self.bound_names}
        reached = reach(request.reads, self.namespace) if request.reads else set()
        candidates = tuple(sorted(reached & self.known & self.namespace.keys()))
        own = tuple(name for name in sorted(reached - self.known) if self._is_own(name))
        hasher = _hasher(store)
        for names in self._groups(candidates):
            if not self.marks.knows(names):  # the notebook has the same values, but not yet compared as one group
                for group in self.marks.look({name: self.namespace[name] for name in names}, hasher):
                    self.marks.set(group)
        unbound = tuple(name for name in request.deletes if name not in self.namespace)
        self.namespace.update(dict.fromkeys(unbound, _UNTOUCHED))
        tokens = {name: self.table.token(self.namespace[name]) for name in candidates}
        moving = {name: self.namespace[name] for name in {*request.binds, *request.deletes}.intersection(candidates)}
        resized = self.table.release_arrays(named_in(request.source, self.namespace)) if resizes(request.source) else ()
        held = {
            name: value
            for name, value in moving.items()
            if nbytes_of(value) <= ALWAYS_CHECKED_BYTES
            and (name in request.mutates or not tokens[name])
            and id(value) not in resized
        }
        return Before(identities, tokens, own, self._tokens_in(map(self.namespace.get, own)), unbound, held)

    def leave(
        self, request: Request, before: Before, result: tuple[Any, ...], seconds: float, store: Store
    ) -> OutgoingValues:
        """Choose the values to return: bound or changed, picklable, within the size limit; the largest stay first.

        A run can change only objects that the names of the cell reached before the run. The notebook has sent the
        current content of these objects, so their content is the newest. Other objects may be newer in the notebook:
        they are neither compared nor returned.
        """
        hasher = _hasher(store)
        self.last_result = f"_{request.execution_count}" if result else ""
        offer = self._offer(request, before, result, seconds, hasher)
        packed, chosen, staying = _in_room(request, partial(self._pack, offer, store, hasher))
        self._note_returned(packed, chosen, offer.imported, hasher)
        own = {name: self.namespace[name] for name in before.own if name in self.namespace and name not in self.known}
        known = self._spans()
        inside = {name: self._tokens_in([value], known) for name, value in {**own, **staying}.items()}
        doubtful = before.own_tokens.union(self._tokens_in(offer.nameless), *inside.values())
        stale = self._now_stale(doubtful - packed.tokens, before.candidates)
        stays = self._stayed(staying, chosen.stays)
        redescribed = self._descriptions.changed(self._to_describe(before, {*offer.bound, *staying}), seconds)
        shares = self._news_of_shares(inside)
        gone = self._gone(before)
        self._descriptions.forget((*gone, *chosen.values, *offer.imported))
        self.table.prune(lambda: reached_from(self.namespace.values(), self.namespace))
        return OutgoingValues(
            values=packed.transfer,
            stays=stays,
            redescribed=redescribed,
            gone=gone,
            looks=_looks(chosen.values),
            submodules=_submodules(chosen.values.values(), request.source),
            imported=offer.imported,
            stale=stale,
            forgot=self.table.take_forgotten(),
            shares=shares,
        )

    def _offer(
        self, request: Request, before: Before, result: tuple[Any, ...], seconds: float, hasher: Hasher
    ) -> _Offer:
        """Find the values that a cell has bound or changed."""
        bound = self._bound(request, before)
        for name in bound:
            self.unrestored.pop(name, None)
        values, left = self._values_before(before, bound)
        changed, unchecked = self._changed_in_place(request, values, seconds, hasher)
        nameless = [values[name] for name in sorted(left.intersection((*changed, *unchecked)))]
        imported = bound_by_import(bound, self.namespace, request.import_statements, request.stars)
        names = (*bound, *(name for name in changed if name not in left))
        candidates = {name: self.namespace[name] for name in names if name not in imported}
        if result:
            candidates[RESULT] = result[0]
        return _Offer(candidates, imported, bound, nameless, [name for name in unchecked if name not in left])

    def _pack(
        self, offer: _Offer, store: Store, hasher: Hasher, request: Request, no_room: str = ""
    ) -> tuple[Packed, _Chosen, dict[str, Any]]:
        """Pack what fits into the size limit of a request; also return the values that stay, by name."""
        chosen = self._choose(offer.values, request, hasher, no_room)
        chosen.stays.update(dict.fromkeys(offer.unchecked, UNCHECKED))
        self._lose(chosen.stays)
        staying = {name: offer.values[name] if name in offer.values else self.namespace[name] for name in chosen.stays}
        self._add_small_members([*staying.values(), *offer.nameless], offer.nameless, chosen, request, hasher)
        return prepare(chosen.values, self.namespace, store, hasher, table=self.table), chosen, staying

    def _note_returned(self, packed: Packed, chosen: _Chosen, imported: Iterable[str], hasher: Hasher) -> None:
        """Record that the notebook has the packed values, and the modules that it imports itself."""
        packed.arrived(self.table)
        self._settle_stale(packed.tokens)
        self._agree(chosen.groups)
        self._agree(self.marks.look({name: self.namespace[name] for name in imported}, hasher))

    def _gone(self, before: Before) -> tuple[str, ...]:
        """Return the names that a cell has deleted; names that it only might have deleted are unbound again."""
        gone = tuple(name for name in {*before.identities, *before.unbound} if name not in self.namespace)
        for name in before.unbound:
            if self.namespace.get(name) is _UNTOUCHED:
                del self.namespace[name]
        self._lose(gone)
        return gone

    def introduce(
        self,
        request: Request | None,
        returned: Iterable[str],
        result: tuple[Any, ...],
        store: Store,
        *,
        is_all: bool = False,
    ) -> OutgoingValues:
        """Choose the values for a kernel that attaches: those that the last run returned; all other names stay.

        Args:
            request: the last run, with its size limit; None: its values are not asked for.
            returned: the names that it returned.
            result: the value of its last expression, if any.
            store: stores the large buffers.
            is_all: whether no other name stays, since the container keeps none.
        """
        self.forget()
        hasher = _hasher(store)
        others = () if is_all else self.names
        imported = {
            name: Import(value.__name__)
            for name in others
            if is_a(value := self.namespace[name], ModuleType) and sys.modules.get(value.__name__) is value
        }
        names = [
            name for name in returned if name in self.namespace and token_in(name) is None and name not in imported
        ]
        candidates = {name: self.namespace[name] for name in names}
        if result:
            candidates[RESULT] = result[0]

        def pack(fitting: Request, why: str = "") -> tuple[Packed, _Chosen]:
            chosen = self._choose(candidates, fitting, hasher, why)
            return prepare(chosen.values, self.namespace, store, hasher, table=self.table), chosen

        packed, chosen = (Packed(Transfer()), _Chosen({}, [], {})) if request is None else _in_room(request, pack)
        self._note_returned(packed, chosen, imported, hasher)
        staying = {name: self.namespace[name] for name in others if name not in chosen.values and name not in imported}
        if RESULT in chosen.stays:
            staying[RESULT] = result[0]
        stays = self._stayed(staying, dict.fromkeys(staying, IN_CONTAINER) | chosen.stays)
        known = self._spans()
        shares = self._news_of_shares({name: self._tokens_in([value], known) for name, value in staying.items()})
        return OutgoingValues(
            values=packed.transfer,
            stays=stays,
            looks=_looks(chosen.values),
            imported=imported,
            forgot=self.table.take_forgotten(),
            shares=shares,
        )

    def take(
        self, names: Iterable[str], store: Store, received: Sequence[int] = (), forgot: Sequence[int] = ()
    ) -> Transfer:
        """Pack values that stayed.

        Args:
            names: the values, by name or by token.
            store: stores the large buffers.
            received: first tokens of the earlier fetches that arrived.
            forgot: tokens of objects that the notebook has given up.

        Raises:
            KeyError: a name is not bound, or no object has the token.
        """
        self._note_received(received, forgot)
        values, hasher = {name: self._asked_for(name) for name in names}, _hasher(store)
        look(values.values(), self.namespace, hasher, graphs=True)  # finds the arrays that share memory
        packed = prepare(values, self.namespace, store, hasher, table=self.table)
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
        self._stale.clear()
        self._shares.clear()
        self._descriptions.clear()
        self.handed.confirm(())

    def give_up_saved(self) -> None:
        """Forget the saved values that are not loaded: the notebook begins a new namespace."""
        self.waiting.clear()
        self.unrestored.clear()

    # The saved state.

    @property
    def definitions(self) -> tuple[str, ...]:
        """Names that are bound only so that pickle finds a class or a function."""
        return tuple(name for name, value in self._definitions.items() if self.namespace.get(name) is value)

    @property
    def shares(self) -> Mapping[str, Shared]:
        """What the notebook knows of the values that only the container has."""
        return self._shares

    def stale_objects(self) -> dict[int, Any]:
        """Return the objects by token whose content is newer than the notebook's."""
        return {token: value for token, value in self._stale.items() if value is not None}

    def waiting_groups(self) -> dict[tuple[str, ...], SavedGroup]:
        """Return the groups that are saved and not yet loaded, by the names that still belong to them."""
        return {group.names: group for group in self.waiting.values()}

    def resume(self, facts: SyncFacts) -> None:
        """Continue as the container that has ended. The objects follow, by `rebind`."""
        self.table.resume(facts.transfers, facts.forgotten)
        self.table.digests.update(facts.digests)
        self.marks.resume(facts.marks)
        self.known |= facts.known
        self._shares.update(facts.shares)
        self._descriptions.resume(facts.shares.keys() - facts.known)

    def rebind(self, loaded: LoadedGroup, facts: SyncFacts, *, continues: bool) -> None:
        """Take over a group of the saved state: its names are bound, and its objects get their tokens.

        Args:
            loaded: the values of the group.
            facts: what the container before knew.
            continues: the notebook has the objects under their tokens.
        """
        for name, value in loaded.values.items():
            if token_in(name) is None:
                self.namespace[name] = value
                if name in facts.definitions:
                    self._definitions[name] = value
        for name, why in loaded.failed.items():
            self.lack(name, why)
        for name, value in loaded.made.items():
            if name not in self.namespace and name not in self.waiting:
                self.namespace[name] = self._definitions[name] = value
        if not continues:
            return
        pending = {each.base for each in facts.handed}
        for token, value in loaded.objects.items():
            if base_of(token) not in pending:
                self.table.bind(token, value)
        stale = set(facts.stale).intersection(loaded.objects)
        self._stale.update({token: loaded.objects[token] for token in stale})

    def discard(self, name: str) -> None:
        """Give up the saved value of a name that is not loaded, since the name is bound again or deleted."""
        group = self.waiting.pop(name, None)
        if group is not None:
            rest = replace(group, names=tuple(each for each in group.names if each != name))
            self.waiting.update({each: rest for each in rest.names if each in self.waiting})

    def why_unbound(self, name: str) -> str:
        """Return why a name of the container before is not bound; empty: it is bound, or was not known."""
        if name in self.waiting:
            return "its saved value is not loaded yet, because the cell does not name it"
        return self.unrestored.get(name, "")

    def lack(self, name: str, why: str) -> None:
        """Note that the value of a name is lost."""
        if token_in(name) is None:
            self.namespace.pop(name, None)
            self._lose((name,))
            self.unrestored[name] = why

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

    def _is_own(self, name: str) -> bool:
        """Whether a name is bound to a value that only the container has."""
        value = self.namespace.get(name)
        return name in self.namespace and not is_a(value, ModuleType) and self.hidden.get(name, self) is not value

    def _tokens_in(self, values: Iterable[Any], known: Spans | None = None) -> set[int]:
        """Return the tokens of the objects that values reach, or whose memory overlaps with theirs.

        Args:
            values: the values.
            known: the memory of the objects in the table, for several calls; None: for this one alone.
        """
        roots = list(values)
        if not roots or not len(self.table):
            return set()
        graph = Graph(self.namespace)
        for number, value in enumerate(roots):
            graph.add(str(number), value)
        token_of = self.table.token_of
        found = {token_of[key] for key in graph.owners if key in token_of}
        memory = graph.memory()
        beside = (known or self._spans()).overlapping(memory) if memory else ()
        return found.union(map(self.table.token, beside))

    def _spans(self) -> Spans:
        return Spans([*self.table.arrays(), *self.table.storages()])

    def _stayed(self, values: Mapping[str, Any], reasons: Mapping[str, str]) -> tuple[StayedValue, ...]:
        """Describe values that stay, each with its reason."""
        shown = {RESULT: self.last_result}
        return tuple(
            self._descriptions.stayed(name, value, reasons[name], shown=shown.get(name, ""))
            for name, value in values.items()
        )

    def _to_describe(self, before: Before, described: Collection[str]) -> dict[str, Any]:
        """Return values of the container alone whose descriptions may show what a cell has changed.

        Args:
            before: the namespace before the cell.
            described: names that the cell has bound, or that the answer describes anyway.
        """
        names = set(self._descriptions.names).difference(described, self.known)
        values = {name: self.namespace[name] for name in names if self._is_own(name)}
        read = {name: value for name, value in values.items() if name in before.own}
        others = {name: value for name, value in values.items() if name not in before.own}
        if not others:
            return read
        roots = (self.namespace.get(name) for name in (*before.candidates, *before.own, *described))
        reached = reached_from(roots, self.namespace)
        return read | {name: value for name, value in others.items() if shows_any(value, reached)}

    def _bound(self, request: Request, before: Before) -> tuple[str, ...]:
        """Return names that are new or bound to another object than before the cell, or whose values are asked for.

        A value that stayed is asked for by `--out`, and by a cell that binds its name again (`big = big`).
        """
        asked = {*request.binds, *request.fetch_names} - self.known
        now = {name: self.namespace[name] for name in self.bound_names}
        then = before.identities
        moved = [
            name
            for name, value in now.items()
            if (then.get(name) != id(value) or name in asked) and value is not _UNTOUCHED
        ]
        results = [name for name in sorted(LAST_RESULTS.intersection(request.binds)) if name in self.namespace]
        return (*moved, *results)  # `for _ in …` binds a name that IPython uses

    def _values_before(self, before: Before, bound: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
        """Return the candidates' live values from before the cell, and the names rebound or deleted by the cell."""
        left = {name for name in before.candidates if name in bound or name not in self.namespace}
        values = {name: self.namespace[name] for name in before.candidates if name not in left}
        found = {name: before.held.get(name, self.table.find(before.candidates[name])) for name in left}
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

    def _choose(self, candidates: Mapping[str, Any], request: Request, hasher: Hasher, no_room: str = "") -> _Chosen:
        """Choose what fits into the size limit; `no_room`: why the rest does not, if no option of the user's."""
        chosen = _Chosen({}, [], {})
        left = request.fetch_bytes
        for name in sorted(candidates, key=lambda n: (n not in request.fetch_names, nbytes_of(candidates[n]))):
            value = candidates[name]
            size = 0 if is_a(value, ModuleType) else nbytes_of(value)  # a module is sent by name only
            asked = name in request.fetch_names
            if size > left and not asked:
                limit = size_text(request.fetch_bytes).replace(" ", "")
                chosen.stays[name] = no_room or f"{size_text(size)}, over --fetch {limit}"
                continue
            chosen.values[name] = value
            left -= 0 if asked else size
        for group in self.marks.look(chosen.values, hasher):
            if group.print is None:
                for name in group.names:
                    why = why_not(chosen.values.pop(name), self.namespace)
                    chosen.stays[name] = why or "cannot be pickled"
            else:
                chosen.groups.append(group)
        return chosen

    def _add_small_members(
        self, staying: Sequence[Any], nameless: Sequence[Any], chosen: _Chosen, request: Request, hasher: Hasher
    ) -> None:
        """Add small objects inside staying values that the notebook reaches by other names than the cell's.

        Args:
            staying: values that the run changed and that are not returned under a name.
            nameless: those of them that lost their name in the run.
            chosen: what is returned; the objects are added.
            request: the cell's request.
            hasher: the hasher of this transfer.
        """
        if not staying:
            return
        graph = Graph(self.namespace)
        for value in staying:
            graph.add("", value)
        inside = set(graph.owners)
        seen = {token for token in request.named if id(self.table.find(token)) in inside}
        seen |= {self.table.token(value) for value in nameless}
        for name in sorted(self.known & self.namespace.keys() - chosen.values.keys()):
            met = graph.add(name, self.namespace[name])
            seen |= {self.table.token(value) for value in met if id(value) in inside}
        left = chosen.room(request.fetch_bytes)
        for value in sorted((self.table.find(token) for token in seen if self.table.has(token)), key=nbytes_of):
            left -= nbytes_of(value)
            if left < 0:
                return
            if look([value], self.namespace, hasher, graphs=True) is not None:
                chosen.values[token_name(self.table.token(value))] = value

    def _now_stale(self, doubtful: set[int], candidates: Iterable[str]) -> tuple[int, ...]:
        """Return the tokens of objects that the run may have changed and that were neither returned nor compared."""
        new = doubtful - self._stale.keys()
        if new:
            new -= self._tokens_in([self.namespace[name] for name in candidates if name in self.known])
        self._stale.update({token: self.table.find(token) for token in new})
        self.marks.drop_with(new)
        return tuple(sorted(new))

    def _note_received(self, fetched: Sequence[int], forgot: Sequence[int]) -> None:
        """Record which fetches arrived, and which objects the notebook has given up."""
        self._settle_stale(self.handed.confirm(fetched))
        self._settle_stale(forgot)
        self.marks.forget(forgot)

    def _settle_stale(self, tokens: Iterable[int]) -> None:
        """Record that the notebook has the current content of objects, or that it has given the objects up."""
        for token in self._stale.keys() & set(tokens):
            del self._stale[token]

    def _news_of_shares(self, inside: Mapping[str, set[int]]) -> dict[str, Shared]:
        """Return what values that only the container has share with the notebook, where that has changed.

        Args:
            inside: by name of a value, the tokens of the objects in the value.
        """
        for name in [name for name in self._shares if name not in self.namespace]:
            del self._shares[name]
        found = {
            name: Shared(tuple(sorted(tokens)), tuple(sorted(reach([name], self.namespace) & self.known)))
            for name, tokens in inside.items()
        }
        news = {name: shared for name, shared in found.items() if self._shares.get(name) != shared}
        self._shares |= {name: shared for name, shared in news.items() if name != RESULT}
        return news


def _looks(values: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the type's name and the line of values that the notebook may not be able to make."""
    with without_output():
        return {name: (type(value).__name__, summary(value)) for name, value in values.items() if _may_lack(value)}


def _may_lack(value: Any) -> bool:
    """Whether the notebook may lack the package needed to make such a value."""
    return is_a(value, ModuleType) or type(value).__module__ not in ("builtins", "__main__")


def _submodules(values: Iterable[Any], source: str) -> tuple[str, ...]:
    """Return loaded submodules of the returned modules that the cell's text names with dots."""
    heads = [value.__name__ + "." for value in values if is_a(value, ModuleType)]
    named = {match[0] for match in re.finditer(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", source)} if heads else set()
    return tuple(name for name in sorted(named) if name in sys.modules and name.startswith(tuple(heads)))


def _hasher(store: Store) -> Hasher:
    return Hasher(unwritten=getattr(store, "unwritten", None))


def _is_history(name: str) -> bool:
    """Whether a name is an input or output of IPython (`_i`, `_i3`, `_3`), bound after `hidden` is read."""
    return name.startswith("_") and (name in ("_i", "_ii", "_iii") or name.lstrip("_i").isdigit())
