"""The container side of a session's variables: receive them before a cell, choose and return them after the cell."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.state import files
from modal_gpu_magic.container.state.cell_values import OutgoingValues, looks_of, submodules_of
from modal_gpu_magic.container.state.comparison import Comparison
from modal_gpu_magic.container.state.descriptions import Descriptions
from modal_gpu_magic.container.state.handed import Handed
from modal_gpu_magic.container.state.held_values import HeldValues
from modal_gpu_magic.container.state.module_values import ModuleValues
from modal_gpu_magic.container.state.selection import IN_CONTAINER, UNCHECKED, Chosen, Selection, in_room
from modal_gpu_magic.container.state.shared_objects import SharedObjects
from modal_gpu_magic.container.state.unloaded_names import UnloadedNames
from modal_gpu_magic.container.state.user_names import UserNames, is_history
from modal_gpu_magic.errors import LostValueError, NoRoomError, TransferError
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.marks import Group, Marks, objects_in
from modal_gpu_magic.wire.inspection.own_modules import own_modules
from modal_gpu_magic.wire.messages.events import LAST_RESULTS, OUTPUTS, RESULT, Request, Transfer, is_numbered, token_in
from modal_gpu_magic.wire.messages.place_names import place_in
from modal_gpu_magic.wire.pickles.fingerprints import look
from modal_gpu_magic.wire.pickles.identity import IdentityTable, base_of
from modal_gpu_magic.wire.transfer import Packed, prepare, unpack
from modal_gpu_magic.wire.values.imports import Import
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.referenced_globals import is_name
from modal_gpu_magic.wire.values.remote import held_in
from modal_gpu_magic.wire.values.submodules import import_submodules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from modal_gpu_magic.container.state.cell_values import Before
    from modal_gpu_magic.container.state.comparison import Offer
    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.messages.events import StayedValue
    from modal_gpu_magic.wire.saved.manifest import SyncFacts
    from modal_gpu_magic.wire.saved.reading import LoadedGroup

MOST_ATTEMPTS = 8
"""Attempts to pack the values of a cell while a thread of the user changes them."""
UNSETTLED = "it changed while it was packed"
NOT_HELD = "the container no longer has the value"


class NamespaceSync:
    """The session's namespace, and the part of its values that the notebook has as well.

    Args:
        namespace: the variables of the session.
        hidden: the names that IPython binds, with their values.

    Attributes:
        namespace: the variables of the session.
        user_names: the names that the user has bound, and those that the notebook has as well.
        table: the objects that both sides have.
        marks: the content of the values that both sides have.
        handed: fetches that the notebook has not confirmed.
        shared_objects: the objects in values that only the container has, and the stale objects.
        unloaded: names of the container before whose values this container does not have.
        held: values that the notebook refers to by more than their names.
        modules: the variables of the user's modules.
        last_result: the name of the last run's result; empty: it had none.
        root: the working directory at the start of the session; a cell may change directory.
        watch: finds the files that a cell wrote below `root`.
    """

    def __init__(self, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self.user_names = UserNames(namespace, hidden)
        self.table = IdentityTable(side=1)
        self.marks = Marks(namespace, self.table)
        self.handed = Handed(self.table)
        self.shared_objects = SharedObjects(self.user_names, self.marks)
        self.unloaded = UnloadedNames()
        self.held = HeldValues(namespace)
        self.modules = ModuleValues()
        self._comparison = Comparison(self.user_names, self.marks, self.shared_objects)
        self._selection = Selection(self.user_names, self.marks)
        self._descriptions = Descriptions()
        self.last_result = ""
        self.root = Path.cwd()
        self.watch = files.Watch(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """The user's names, without IPython's own; those whose values are not yet loaded as well."""
        waiting = (name for name in self.unloaded.waiting if is_name(name) and not is_history(name))
        return (*self.user_names.bound, *waiting)

    def arrive(self, request: Request, store: Store, *, restore_devices: bool = True) -> dict[str, str]:
        """Read the notebook's values; return the names that could not be made in the container, with the reason.

        Raises:
            UnknownObjectsError: the notebook refers to objects that the container does not have.
        """
        hasher = _hasher(store)
        self._note_received(request.fetched, request.forgot)
        self.held.note(request.holds, request.released)
        self.unloaded.bound(self.held.values())
        self._lose(request.drops)
        for name in (*request.drops, *request.values.names):
            self.unloaded.discard(name)
        self.unloaded.bound(request.values.names)
        dropped = [self.namespace.pop(name, None) for name in request.drops]  # the values may refer to objects in them
        import_submodules(request.submodules)
        with self.held.in_namespace():
            arrived = unpack(
                request.values,
                self.namespace,
                store,
                hasher,
                table=self.table,
                bind=True,
                restore_devices=restore_devices,
                homes=own_modules().finder(request.places, self.table),
            )
        of_modules = self.modules.take(arrived.values)
        del dropped
        lacking = self._bind_held(request.aliases)
        outputs = self.namespace.get(OUTPUTS[0])
        outputs = outputs if is_a(outputs, dict) else {}
        outputs.update({int(name[1:]): value for name, value in arrived.values.items() if is_numbered(name)})
        values = {name: value for name, value in arrived.values.items() if name not in LAST_RESULTS}
        self._agree(self.marks.look(values | of_modules, hasher))
        self._lose(arrived.failed)
        self.user_names.bind_definitions(arrived.made, request.reads)
        return {**arrived.failed, **lacking}

    def _bind_held(self, aliases: Iterable[tuple[str, int]]) -> dict[str, str]:
        """Bind names of the notebook to held values; return those that the container lacks, with the reason."""
        lacking = self.held.bind(aliases)
        bound = {name for name, _ in aliases} - lacking
        self._lose(bound)
        self.unloaded.bound(bound)
        self._descriptions.resume(bound)
        return dict.fromkeys(lacking, NOT_HELD)

    def before(self, request: Request, store: Store) -> Before:
        """Record the namespace just before user code begins."""
        return self._comparison.before(request, _hasher(store))

    def leave(
        self, request: Request, before: Before, result: tuple[Any, ...], seconds: float, store: Store
    ) -> OutgoingValues:
        """Choose the values to return: bound or changed, picklable, within the size limit; the largest stay first."""
        hasher = _hasher(store)
        self.last_result = f"_{request.execution_count}" if result else ""
        offer, packed, chosen, staying = self._pack_settled(request, before, result, seconds, store, hasher)
        bound = offer.bound
        self._note_returned(packed, chosen, offer.imported, hasher)
        known, now = self.user_names.known, self.namespace.copy()
        own = {name: now[name] for name in before.own if name in now and name not in known}
        inside = self.shared_objects.tokens_by_name({**own, **staying})
        doubtful = before.own_tokens.union(self.shared_objects.tokens_in(offer.nameless), *inside.values())
        stale = self.shared_objects.note_stale(doubtful - packed.tokens, before.candidates)
        remote = self._descriptions.names.difference(bound, staying, known)
        stays = self._stayed(staying, chosen.stays, remote)
        outdated = self._descriptions.outdated(self.user_names, before, {*bound, *staying})
        redescribed = self._descriptions.changed(outdated, seconds)
        shares = self.shared_objects.news_of_shares(inside)
        gone = self._comparison.gone(before)
        self._lose(gone)
        self._descriptions.forget((*gone, *chosen.values, *offer.imported))
        self.table.prune(lambda: reached_from(self.namespace.values(), self.namespace))
        return OutgoingValues(
            values=packed.transfer,
            stays=stays,
            redescribed=redescribed,
            gone=gone,
            looks=looks_of(chosen.values),
            submodules=submodules_of(chosen.values.values(), request.source),
            imported=offer.imported,
            stale=stale,
            forgot=self.table.take_forgotten(),
            shares=shares,
            places=chosen.places,
        )

    def _pack_settled(
        self,
        request: Request,
        before: Before,
        result: tuple[Any, ...],
        seconds: float,
        store: Store,
        hasher: Hasher,
    ) -> tuple[Offer, Packed, Chosen, dict[str, Any]]:
        """Find what the cell has bound or changed, and pack what fits. The arguments are those of `leave`.

        A thread of the user may change all of that meanwhile. A value that changes while it is packed stays.
        """
        unsettled: set[str] = set()
        attempts = 0

        def attempt() -> tuple[Offer, Packed, Chosen, dict[str, Any]]:
            bound = self._comparison.bound(request, before)
            self.unloaded.bound(bound)
            offer = self._comparison.offer(request, before, bound, result, seconds, hasher)
            offer.values.update(self.modules.changed(request, hasher))
            return offer, *in_room(request, partial(self._pack, offer, unsettled, store, hasher))

        while True:
            try:
                return attempt()
            except NoRoomError:  # noqa: PERF203 - an attempt takes much longer
                raise
            except TransferError as error:
                if not error.refused or error.refused in unsettled:
                    raise
                unsettled.add(error.refused)
            except (KeyError, RuntimeError):
                attempts += 1
                if attempts == MOST_ATTEMPTS:
                    raise

    def _pack(
        self, offer: Offer, unsettled: Iterable[str], store: Store, hasher: Hasher, request: Request, no_room: str = ""
    ) -> tuple[Packed, Chosen, dict[str, Any]]:
        """Pack what fits into the size limit of a request; also return the values that stay, by name."""
        chosen = self._selection.choose(offer.values, request, hasher, no_room)
        chosen.places.update(own_modules().claims(objects_in(chosen.groups), self.table))
        chosen.stays.update(dict.fromkeys(offer.unchecked, UNCHECKED))
        chosen.leave_out(unsettled, UNSETTLED)
        self._lose(chosen.stays)
        self.modules.without_places(chosen.stays)
        staying = {name: offer.values[name] if name in offer.values else self.namespace[name] for name in chosen.stays}
        self._selection.add_small_members(chosen, staying.values(), offer.nameless, request, hasher)
        chosen.leave_out(unsettled, UNSETTLED)  # members
        return prepare(chosen.values, self.namespace, store, hasher, table=self.table), chosen, staying

    def _note_returned(self, packed: Packed, chosen: Chosen, imported: Iterable[str], hasher: Hasher) -> None:
        """Record that the notebook has the packed values, and the modules that it imports itself."""
        packed.arrived(self.table)
        self.modules.returned(chosen.values)
        self.shared_objects.settle_stale(packed.tokens)
        self._agree(chosen.groups)
        self._agree(self.marks.look({name: self.namespace[name] for name in imported}, hasher))

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
        candidates = {**{name: self.namespace[name] for name in names}, **self.modules.for_newcomer()}
        if result:
            candidates[RESULT] = result[0]

        def pack(fitting: Request, why: str = "") -> tuple[Packed, Chosen]:
            chosen = self._selection.choose(candidates, fitting, hasher, why)
            return prepare(chosen.values, self.namespace, store, hasher, table=self.table), chosen

        packed, chosen = (Packed(Transfer()), Chosen()) if request is None else in_room(request, pack)
        self._note_returned(packed, chosen, imported, hasher)
        self.modules.without_places(chosen.stays)
        staying = {name: self.namespace[name] for name in others if name not in chosen.values and name not in imported}
        if RESULT in chosen.stays:
            staying[RESULT] = result[0]
        stays = self._stayed(staying, dict.fromkeys(staying, IN_CONTAINER) | chosen.stays)
        shares = self.shared_objects.news_of_shares(self.shared_objects.tokens_by_name(staying))
        return OutgoingValues(
            values=packed.transfer,
            stays=stays,
            looks=looks_of(chosen.values),
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
            LostValueError: a name is not bound, or no object has the token.
        """
        self._note_received(received, forgot)
        values, hasher = {name: self._asked_for(name) for name in names}, _hasher(store)
        look(values.values(), self.namespace, hasher, graphs=True)  # finds the arrays that share memory
        packed = prepare(values, self.namespace, store, hasher, table=self.table)
        self.handed.add(packed)
        return packed.transfer

    def _asked_for(self, name: str) -> Any:
        token = token_in(name)
        if token is not None and self.table.has(token):
            return self.table.find(token)
        found = self.held.values() if held_in(name) is not None else self.namespace
        if name not in found:
            raise LostValueError(f"the value is lost: {NOT_HELD}. Run the cell that made it again.")
        return found[name]

    def forget(self) -> None:
        """Forget all shared objects: the notebook starts a new session."""
        self.user_names.known.clear()
        self.modules.forget()
        self.marks.clear()
        self.table.clear()
        self.shared_objects.clear()
        self.held.clear()
        self._descriptions.clear()
        self.handed.confirm(())

    # The saved state.

    def resume(self, facts: SyncFacts) -> None:
        """Continue as the container that has ended. The objects follow, by `rebind`."""
        self.table.resume(facts.transfers, facts.forgotten)
        self.table.digests.update(facts.digests)
        self.marks.resume(facts.marks)
        self.user_names.known.update(facts.known)
        self.shared_objects.resume(facts.shares)
        self._descriptions.resume(facts.shares.keys() - facts.known)

    def rebind(self, loaded: LoadedGroup, facts: SyncFacts, *, continues: bool) -> None:
        """Take over a group of the saved state: its names are bound, and its objects get their tokens.

        Args:
            loaded: the values of the group.
            facts: what the container before knew.
            continues: the notebook has the objects under their tokens.
        """
        self._bind_loaded(loaded, facts.definitions)
        if not continues:
            self._descriptions.resume(name for name in loaded.values if not name.startswith("<"))
            return
        self.held.restore(loaded.values)
        pending = {each.base for each in facts.handed}
        for token, value in loaded.objects.items():
            if base_of(token) not in pending:
                self.table.bind(token, value)
        stale = set(facts.stale).intersection(loaded.objects)
        self.shared_objects.hold_stale({token: loaded.objects[token] for token in stale})

    def _bind_loaded(self, loaded: LoadedGroup, definitions: Collection[str]) -> None:
        """Bind the names of a group; `definitions`: names that are bound only so that pickle finds their values."""
        variables = {name: value for name, value in loaded.values.items() if not name.startswith("<")}
        self.namespace.update(variables)
        self.modules.take(dict(loaded.values))
        for name in variables.keys() & set(definitions):
            self.user_names.bind_definition(name, variables[name])
        for name, why in loaded.failed.items():
            self.lack(name, why)
        for name, value in loaded.made.items():
            if name not in self.namespace and name not in self.unloaded.waiting:
                self.user_names.bind_definition(name, value)

    def lack(self, name: str, why: str) -> None:
        """Note that the value of a name is lost."""
        if token_in(name) is None:  # a held value has no variable
            self.namespace.pop(name, None)
            self._lose((name,))
            self.unloaded.lost[name] = why

    # What the notebook has.

    def _agree(self, groups: Iterable[Group]) -> None:
        """Record that the notebook has the current values of these groups."""
        for group in groups:
            self.marks.transferred(group)
            names = () if group.print is None else group.names
            self.user_names.known.update(name for name in names if name != RESULT and place_in(name) is None)

    def _lose(self, names: Iterable[str]) -> None:
        """Record that the notebook has other values under these names, or none."""
        lost = frozenset(names)
        self.user_names.known.difference_update(lost)
        self.marks.drop(lost)

    def _note_received(self, fetched: Sequence[int], forgot: Sequence[int]) -> None:
        """Record which fetches arrived, and which objects the notebook has given up."""
        self.shared_objects.settle_stale(self.handed.confirm(fetched))
        self.shared_objects.settle_stale(forgot)
        self.marks.forget(forgot)

    def _stayed(
        self, values: Mapping[str, Any], reasons: Mapping[str, str], remote: Iterable[str] = ()
    ) -> tuple[StayedValue, ...]:
        """Describe values that stay, each with its reason; `remote`: other names that the notebook has so."""
        earlier = {name: self.namespace[name] for name in remote if name in self.namespace} | self.held.values()
        names = {id(value): name for name, value in earlier.items()}
        made = []
        for name, value in values.items():
            shown = self.last_result if name == RESULT else name
            same_as = names.setdefault(id(value), shown)
            same_as = "" if same_as == shown else same_as
            made.append(self._descriptions.stayed(name, value, reasons[name], shown=shown, same_as=same_as))
        return tuple(made)


def _hasher(store: Store) -> Hasher:
    return Hasher(unwritten=getattr(store, "unwritten", None))
