"""The kernel's side of a session's variables: choose values to send before a cell, bind returned values after the cell.

A name is sent only if its fingerprint differs from the last transfer in either direction (DESIGN decision 12), so an
older value of the kernel never overwrites a newer one in the container.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from modal_gpu_magic.errors import LostValueError, MachineError, TransferError
from modal_gpu_magic.plan.cell.secrets import looks_secret
from modal_gpu_magic.session.values import deferred_imports
from modal_gpu_magic.session.values.bindings import identity
from modal_gpu_magic.session.values.covers import Covers
from modal_gpu_magic.session.values.module_values import ModuleValues
from modal_gpu_magic.session.values.snapshot import Snapshot
from modal_gpu_magic.session.values.stand_ins import StandIns
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.marks import Group, Marks, names_of, objects_in
from modal_gpu_magic.wire.inspection.own_modules import State, own_modules
from modal_gpu_magic.wire.inspection.size import nbytes_of
from modal_gpu_magic.wire.messages.events import LAST_RESULTS, OUTPUTS, RESULT, is_numbered, is_result, token_in
from modal_gpu_magic.wire.messages.place_names import place_in
from modal_gpu_magic.wire.messages.versions import explained
from modal_gpu_magic.wire.pickles.fingerprints import look, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.transfer import unpack
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral
from modal_gpu_magic.wire.values.referenced_globals import every_name, is_name, reach
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, is_lost, lose, own_of, redescribe
from modal_gpu_magic.wire.values.submodules import import_submodules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.plan.cell.names import Names
    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.messages.events import Answer, StayedValue, Transfer
    from modal_gpu_magic.wire.transfer import Packed
    from modal_gpu_magic.wire.values.imports import Import

ENDED = "its container has ended"
"""Why a value is lost, if nothing else is known."""
LOOKED_UP_BYTES = 16_000_000
"""Maximum size of a value that is sent without being named in the cell, for a cell that may read any name, bytes."""


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """The header's options for the variables.

    Attributes:
        include: names that must be sent (`--in`).
        exclude: names that must not be sent (`--no-in`).
        limit: maximum size of all sent values, bytes (`--send`).
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int = 16 << 30


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The values that a cell sends.

    Attributes:
        values: the values by name.
        groups: the names with fingerprints of their values; names that share objects are in one group.
        looked: all groups that the cell reads, sent or not.
        withheld: the reason for each name that is not sent, and the option that changes it.
        drops: names that the container must delete.
        forgot: tokens of objects that the kernel no longer tracks.
        hasher: the digests of the large buffers.
        reached: the names whose values the cell may read.
        holds: numbers of values that the container is to hold, with their names (`Request.holds`).
        released: numbers of held values that the kernel has given up.
        aliases: names that the cell may read and that the kernel has bound to held values, with their numbers.
        may_change: names and placeholder names of the held values that the cell may reach.
        places: by token of an object, the name of the place that the user's modules have the object at.
        of_modules: the states of the sent variables of the user's modules.
    """

    values: dict[str, Any] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    looked: tuple[Group, ...] = ()
    withheld: dict[str, str] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    forgot: tuple[int, ...] = ()
    hasher: Hasher = field(default_factory=Hasher)
    reached: frozenset[str] = frozenset()
    holds: tuple[tuple[int, str], ...] = ()
    released: tuple[int, ...] = ()
    aliases: dict[str, int] = field(default_factory=dict)
    may_change: frozenset[str] = frozenset()
    places: dict[int, str] = field(default_factory=dict)
    of_modules: dict[str, State] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Approximate size of the values, bytes."""
        return sum(nbytes_of(value) for value in self.values.values())


@dataclass(frozen=True, slots=True)
class _Choice:
    """How names reach the container.

    Attributes:
        values: values to send, by name, unless the container has them already.
        last: IPython's last results, which each result changes on both sides: the container never has them already.
        aliases: names of held values, with their numbers.
        withheld: the reason for each name that is not sent, and the option that changes it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellResult:
    """The result of a cell.

    Attributes:
        result: the last expression's value.
        has_result: whether the cell ended with an expression that has a value.
        stays: names whose values stayed in the container, each with the reason.
    """

    result: Any = None
    has_result: bool = False
    stays: tuple[tuple[str, str], ...] = ()


class Values:
    """The variables of one session in the kernel. `namespace`: the notebook's variables, changed in place."""

    def __init__(self, session: str, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.session, self.namespace, self.hidden = session, namespace, hidden
        self.table = IdentityTable(side=0)
        self.marks = Marks(namespace, self.table)
        self.hasher = Hasher()
        self.alive: frozenset[str] = frozenset()
        """Names bound in the container after the last cell; one deleted in the notebook is deleted in the container."""
        self.stateless = False
        """The session runs on a cluster, which keeps no values between cells."""
        self.unwritten: Callable[[memoryview], bytes | None] | None = None
        """Returns the digest of a buffer that the store delivered and that is unchanged since."""
        self.modules = ModuleValues(namespace, self.marks)
        self.covers = Covers(session, namespace, hidden, self.table)
        self.stand_ins = StandIns(self.covers)
        self._bound: dict[str, tuple[type, tuple[str, Any]]] = {}

    def outgoing(self, names: Names, transfer_options: TransferOptions) -> Outgoing:
        """The values to send before the cell.

        Raises:
            TransferError: values that the cell reads cannot be sent: each name, the reason, the remedy.
        """
        hasher = self.hasher = Hasher(unwritten=self.unwritten)
        holds, released = self.stand_ins.hold(), self.stand_ins.released()
        sure = (names.reads - names.maybe) | set(transfer_options.include)
        reached = self._reached(names, transfer_options)
        choice, looked = self._choose_with_modules(reached, names.imports, transfer_options, hasher)
        groups: list[Group] = []
        for group in looked:
            if group.print is None:
                unsent = (name for name in group.names if place_in(name) is None)
                choice.withheld.update({name: self._why_not(name, choice.values[name]) for name in unsent})
            elif not self.marks.agrees(group):
                groups.append(group)
        for name, value in choice.last.items():
            if look((value,), self.namespace, hasher, table=self.table) is None:
                choice.withheld[name] = self._why_not(name, value)
        names_sent = names_of(groups) | (choice.last.keys() - choice.withheld.keys())
        sent = {name: (choice.values | choice.last)[name] for name in sorted(names_sent)}
        self._check(
            {name: why for name, why in choice.withheld.items() if name in sure}
            or self._too_large(sent, transfer_options.limit)
        )
        places = own_modules().claims(objects_in(groups), self.table)
        drops = tuple(sorted(self._drops(names.binds - reached) - sent.keys()))
        self.table.prune(lambda: reached_from(self.namespace.values(), self.namespace))
        return Outgoing(
            values=sent,
            groups=tuple(groups),
            looked=looked,
            withheld=choice.withheld,
            drops=drops,
            forgot=self.table.forgotten(),
            hasher=hasher,
            reached=frozenset(reached),
            holds=holds,
            released=released,
            aliases=choice.aliases,
            may_change=self.stand_ins.held_names() if sent or choice.aliases else frozenset(),
            places=places,
            of_modules=self.modules.states(sent, hasher),
        )

    @property
    def variables(self) -> dict[str, Any]:
        """The notebook's variables, and those of the user's modules by the name of their place."""
        return {**self.namespace, **own_modules().variables()}

    def snapshot(self, names: Names, transfer_options: TransferOptions) -> Snapshot:
        """Copy the values that a cell reads, for a cell that is sent later."""
        reached = self._reached(names, transfer_options)
        values = self._choose(reached, transfer_options).values
        remote = {name: self.namespace[name] for name in reached if self.stand_ins.is_reachable(self.namespace[name])}
        return Snapshot(self.session, self.namespace, self.marks, values, remote)

    def _reached(self, names: Names, transfer_options: TransferOptions) -> set[str]:
        """Names whose values the cell may read, directly or through the functions that it calls."""
        asked = (names.reads | set(transfer_options.include)) - set(transfer_options.exclude)
        if not asked.isdisjoint(OUTPUTS):
            asked |= {name for name in self.namespace if is_numbered(name) and self._is_small(name)}
        own = {name for name in asked if self._is_the_users(name, transfer_options)}
        reached = reach(own, self.namespace)
        if names.any_name:
            others = {
                name for name in every_name(self.namespace) if self._is_the_users(name, transfer_options)
            } - reached
            small = {name for name in others if self._is_small(name)}
            reached |= reach(small, self.namespace)
        # IPython's `exit` and `get_ipython` hold the whole kernel: to look through these would take a second.
        reached |= (asked - own) & self.namespace.keys()
        return reached | reach(self.stand_ins.shared_with_remote(reached), self.namespace)

    def _is_small(self, name: str) -> bool:
        return nbytes_of(self.namespace[name]) <= LOOKED_UP_BYTES

    def _choose_with_modules(
        self, reached: set[str], imports: Iterable[str], transfer_options: TransferOptions, hasher: Hasher
    ) -> tuple[_Choice, tuple[Group, ...]]:
        """Choose the values for a cell, and look at them. What variables of modules use is added to `reached`."""
        of_modules: dict[str, Any] = {}
        while True:
            choice = self._choose(reached, transfer_options)
            choice.values.update(of_modules)
            looked = tuple(self.marks.look(choice.values, hasher))
            more = self.modules.choose(imports, looked, hasher, transfer_options.exclude)
            used = self.modules.names_used(more) if more else set()
            if of_modules.keys() >= more.keys() and reached >= used:
                return choice, looked
            of_modules.update(more)
            reached |= used

    def _choose(self, reached: AbstractSet[str], transfer_options: TransferOptions) -> _Choice:
        """Choose how each name that the cell may read reaches the container, unless the container has its value."""
        choice = _Choice()
        for name in sorted(reached):
            if not self._is_the_users(name, transfer_options):
                continue
            value = self.covers.own(name)
            if self._container_has(name, value):
                continue
            if self.stand_ins.is_reachable(value) and (number := facts(value).held):
                choice.aliases[name] = number
            elif reason := self._why_it_stays(name, value, transfer_options):
                choice.withheld[name] = reason
            elif name in LAST_RESULTS:
                choice.last[name] = value
            else:
                choice.values[name] = value
        return choice

    def incoming(
        self, answer: Answer, store: Store, fetch: Callable[[RemoteValue], Any], count: int, unlike: Mapping[str, str]
    ) -> CellResult:
        """Bind the returned values; also after an error and after a stop, as a kernel does.

        Args:
            answer: the container's answer.
            store: holds the buffers of the answer.
            fetch: returns the value of a remote value.
            count: the cell's execution count.
            unlike: a clause about each package whose version in the container differs, by module.
        """
        self.alive = frozenset(answer.names)
        self.marks.forget(answer.forgot)
        self.marks.drop(answer.failed.keys())
        stays = {stay.name: stay for stay in answer.stays}
        result, has_result = self._bind(answer, store, fetch, unlike) if answer.values else (None, False)
        self._bind_imports(answer.imported)
        for name, stay in stays.items():
            remote_name = f"_{count}" if name == RESULT else name  # IPython stores a cell's result as `_12`
            value = None if stay.gone else self.stand_ins.found(stay.same_as)
            if value is None:
                value = self._stand_in(remote_name, stay, None if stay.gone else fetch)
            else:
                redescribe(value, stay.type_name, stay.summary, stay.bundle)
            if name == RESULT:
                result, has_result = value, True
            else:
                self.namespace[name] = value
                self._forget_name(name)
            if not stay.gone:
                self.stand_ins.bind(remote_name, value)
        self._redescribe(answer.redescribed)
        self.stand_ins.share({f"_{count}" if name == RESULT else name: each for name, each in answer.shares.items()})
        self.table.stale.update(token for token in answer.stale if self.table.has(token))
        if answer.stale:
            self.covers.cover(fetch)
        for name in answer.gone:
            self.namespace.pop(name, None)
            self._forget_name(name)
        self.covers.uncover()
        self.lose(answer.lost)
        return CellResult(result, has_result, tuple((n, stay.why) for n, stay in stays.items() if n != RESULT))

    def _stand_in(self, name: str, stay: StayedValue, fetch: Callable[[RemoteValue], Any] | None) -> RemoteValue:
        """Return a new remote value; `fetch`: None: nothing can fetch the value."""
        return RemoteValue(name, self.session, stay.type_name, stay.summary, stay.why, stay.bundle, fetch=fetch)

    def kernel_only_tokens(self, packed: Packed) -> tuple[int, ...]:
        """Tokens of objects in the container, or in a transfer to it, that only the kernel has a name for."""
        new = {id(value): packed.transfer.base + number for number, value in packed.objects.items()}
        remote, token_of = self.alive.union(packed.transfer.names), self.table.token_of
        keys = {id(value) for name, value in self.namespace.items() if name not in remote}
        return tuple({token_of.get(key) or new[key] for key in keys if key in token_of or key in new})

    def sent(self, outgoing: Outgoing, packed: Packed | None) -> None:
        """Record that the container has these values."""
        if packed is not None:
            packed.arrived(self.table)
        for group in outgoing.groups:
            self.marks.transferred(group)
        self.modules.sent(outgoing.of_modules)
        self._note_bound(outgoing.values)
        self.stand_ins.rebound((*outgoing.values, *outgoing.drops))
        self.stand_ins.sent(outgoing.holds, outgoing.released, outgoing.aliases)
        self.marks.drop(frozenset(outgoing.drops))
        self.table.confirm_released(outgoing.forgot)
        self.table.received.clear()

    def forget(self, why: str = ENDED) -> tuple[str, ...]:
        """Discard the state of an ended container, so that values are sent again; return the names of lost values.

        Args:
            why: why the values are lost, as a clause.
        """
        lost = self._remote()
        self._forget()
        self.stand_ins.clear(why)
        return _worth_naming(lost)

    def _forget(self) -> None:
        self.modules.forget()
        self.marks.clear()
        self.table.clear()
        self._bound.clear()
        self.alive = frozenset()

    def rewound(self, restored: AbstractSet[str], reasons: Mapping[str, str]) -> dict[str, str]:
        """Go on with values of an earlier time that the next container has.

        The container knows none of the kernel's objects: a value that shares objects with the kernel is lost as well.

        Args:
            restored: names that the container has.
            reasons: why values are lost, by their names; those of all other names by the empty name.

        Returns:
            The names of lost values, each with the reason.
        """
        remote = self._remote()
        covered = {name for name in remote if self.covers.is_covered(name)}
        sharing = {name for name, tokens in self.stand_ins.shares.items() if any(map(self.table.has, tokens))}
        self._forget()
        self.stand_ins.rewind(
            restored - covered - sharing, lambda name: reasons.get(name, reasons.get("", "")) or ENDED
        )
        self.alive = frozenset(restored)
        return self._reasons(remote - self._remote())

    def lose(self, reasons: Mapping[str, str]) -> dict[str, str]:
        """Note values that the next container does not have; return those that the notebook has remote values of.

        The notebook's own values among them are sent again.

        Args:
            reasons: names, and placeholder names of held values, each with the reason.
        """
        if not reasons:
            return {}
        self.marks.drop(reasons.keys())
        self.table.digests.clear()
        remote = self._remote()
        self.stand_ins.lose(reasons)
        return self._reasons(remote - self._remote())

    def _reasons(self, names: Iterable[str]) -> dict[str, str]:
        """Return why the values of names are lost."""
        return {name: facts(self.namespace[name]).why for name in _worth_naming(names)}

    def adopted(self, given: Iterable[str], why: str) -> None:
        """Note which names a session has that this kernel comes back to; `why`: where the kernel's other ones are."""
        names = [name for name in given if name in self.namespace]
        self._note_bound(names)
        for value in self.namespace.values():
            if is_lost(value) and (facts(value).session, facts(value).why) == (self.session, ENDED):
                lose(value, why)

    def is_current(self, name: str) -> bool:
        """Whether the kernel has the current value of a name that was covered, and the container has no such name."""
        return name not in self.alive and self.covers.is_uncovered(name)

    def fetched(self, asked: str, value: RemoteValue | None, transfer: Transfer, store: Store) -> Any:
        """Unpack and return a fetched value.

        Args:
            asked: the name, or the placeholder name, of the value in the transfer.
            value: the remote value; None: the value was asked for by its name alone.
            transfer: the values that the container has sent.
            store: has the buffers.

        Raises:
            MachineError: the kernel cannot unpickle the value; the message gives the reason.
        """
        hasher = Hasher(unwritten=self.unwritten)
        arrived = unpack(transfer, self.namespace, store, hasher, table=self.table, only=self.table.stale)
        for failed, why in arrived.failed.items():
            name = facts(value).name if value is not None else failed
            raise MachineError(f"{name} cannot be fetched: {why}.")
        self.table.stale -= arrived.current
        self.stand_ins.share_fetched(arrived.current | arrived.new)
        self.table.received.append(transfer.base)
        own = own_of(value) if value is not None else ()
        fetched = own[0] if own else arrived.values[asked]
        if not own:
            # `x = x.fetch()` binds what the container has under the name: the container keeps it, for other kernels.
            for name in (asked,) if value is None else self.stand_ins.names_of(value):
                self._bound[name] = type(fetched), identity(fetched, self.table)
        self.covers.uncover()
        return fetched

    def remote(self, name: str) -> RemoteValue | None:
        """The remote value of this session that a name is bound to; None: the name is bound to another value."""
        value = self.namespace.get(name)
        return value if type(value) is RemoteValue and facts(value).session == self.session else None

    def remote_names(self) -> tuple[str, ...]:
        """The user's names whose values are only in this session's container."""
        return _worth_naming(self._remote())

    def _remote(self) -> set[str]:
        """Names whose values are only in the container."""
        names = (name for name, value in self.namespace.items() if self.stand_ins.is_reachable(value))
        return {name for name in names if is_name(name)}

    def _bind(
        self, answer: Answer, store: Store, fetch: Callable[[RemoteValue], Any], unlike: Mapping[str, str]
    ) -> tuple[Any, bool]:
        hasher = Hasher(unwritten=getattr(store, "unwritten", None))
        transfer = cast("Transfer", answer.values)
        homes = own_modules().finder(answer.places, self.table)
        arrived = unpack(transfer, self.namespace, store, hasher, table=self.table, bind=True, homes=homes)
        self.table.stale -= arrived.current
        import_submodules(answer.submodules)
        of_modules = self.modules.take(arrived.values)
        result = arrived.values.pop(RESULT, None)
        named = {name: value for name, value in arrived.values.items() if token_in(name) is None}
        for name in named:
            self._forget_name(name)
        for group in self.marks.look(named | of_modules, hasher):
            self.marks.transferred(group)
        self._note_bound(named)
        for name, why in arrived.failed.items():
            kind, line = answer.looks.get(name, ("object", ""))
            value = RemoteValue(name, self.session, kind, line, explained(why, unlike), {}, fetch=fetch)
            if name == RESULT:
                result = value
            elif token_in(name) is None and place_in(name) is None:
                self.namespace[name] = value
                self._forget_name(name)
                self.stand_ins.bind(name, value)
                self.stand_ins.share_objects(name, arrived.parts[name])
        if lost := {token for token in arrived.lost if self.table.has(token)}:
            self.table.stale |= lost
            self.covers.cover(fetch)
        return result, RESULT in transfer.names

    def _redescribe(self, changed: Iterable[StayedValue]) -> None:
        """Show what values that stayed earlier look like now."""
        for new in changed:
            value = self.stand_ins.current(new.name)
            if value is not None and self.stand_ins.is_reachable(value):
                redescribe(value, new.type_name, new.summary, new.bundle)

    def _bind_imports(self, imported: Mapping[str, Import]) -> None:
        """Bind the names that the cell imported to stand-ins, which import when a native cell needs them."""
        deferred_imports.bind(imported, self.namespace)
        for name in imported:
            self._forget_name(name)
        bound = {name: self.namespace[name] for name in imported}
        for group in self.marks.look(bound, Hasher()):
            self.marks.transferred(group)
        self._note_bound(bound)

    def _forget_name(self, name: str) -> None:
        """Discard the state of a name that the container has bound or deleted."""
        self.marks.drop(frozenset((name,)))
        self.stand_ins.forget_name(name)

    def _note_bound(self, names: Iterable[str]) -> None:
        """Record the current bindings of names as equal in the kernel and the container."""
        for name in names:
            value = self.covers.own(name) if name in self.namespace else None
            key = (
                ("import", deferral(value).statement) if type(value) is DeferredImport else identity(value, self.table)
            )
            self._bound[name] = type(value), key

    def _why_not(self, name: str, value: Any) -> str:
        return f"{why_not(value, self.namespace)}; leave it out with --no-in {name}"

    def _is_the_users(self, name: str, transfer_options: TransferOptions) -> bool:
        if name not in self.namespace or name in transfer_options.exclude:
            return False
        if is_result(name) or name in transfer_options.include:  # IPython hides its names of results
            return True
        return not (name in self.hidden and self.hidden[name] is self.namespace[name])

    def _why_it_stays(self, name: str, value: Any, transfer_options: TransferOptions) -> str | None:
        if is_lost(value):
            return f"{facts(value).why or 'it is not available'}; run the cell that made it again"
        if type(value) is RemoteValue and not self.stand_ins.is_reachable(value):
            other = facts(value).session
            if self.stateless:
                return (
                    f"it is in session {other!r}, which the cluster cannot reach; run {name} = {name}.fetch() first, "
                    "or write it to a Volume in that session and read it in the cell"
                )
            return (
                f"it is in session {other!r}; run the cell with --session {other}, or run {name} = {name}.fetch() first"
            )
        secret = None if name in transfer_options.include else looks_secret(name, value)
        return f"{secret}; send it with --in {name}, or run without it: --no-in {name}" if secret else None

    def _too_large(self, values: Mapping[str, Any], limit: int) -> dict[str, str]:
        sizes = {name: nbytes_of(value) for name, value in values.items()}
        if sum(sizes.values()) <= limit:
            return {}
        largest = max(sizes, key=lambda name: sizes[name])
        need = -(-sum(sizes.values()) // 10**9)
        return {
            largest: f"{sizes[largest] / 1e9:.1f} GB, and all values together are over the {limit / 1e9:.0f} GB limit; "
            f"raise it with --send {need}GB, or leave it out with --no-in {largest}"
        }

    def _check(self, refused: Mapping[str, str]) -> None:
        if refused:
            lines = [f"Cannot send `{name}`: {why}." for name, why in refused.items()]
            lost = all(is_lost(self.namespace[name]) for name in refused)
            raise (LostValueError if lost else TransferError)("\n".join(lines))

    def _drops(self, bound: AbstractSet[str]) -> set[str]:
        """Names that the container must delete, so that the cell neither reads nor returns their old values.

        The notebook deleted them or bound them again, or the cell binds them without reading them.
        """
        old = {name for name in self.alive if name not in self.namespace or self._is_rebound(name)}
        return old | {name for name in bound & self.alive if not self._is_remote(name)}

    def _is_rebound(self, name: str) -> bool:
        """Whether the notebook has bound a name to another object since the last transfer of the name."""
        value = self.namespace[name]
        if type(value) is RemoteValue:
            value = self.covers.own(name)
            if self.stand_ins.is_reachable(value):
                return not self.stand_ins.is_current(name, value)
        kind, then = self._bound.get(name, (None, None))
        if kind is DeferredImport and then is not None:
            return not deferred_imports.is_of(value, then[1])
        return kind is not type(value) or then != identity(value, self.table)

    def _is_remote(self, name: str) -> bool:
        """Whether a name's value is only in a container."""
        return name in self.namespace and type(self.covers.own(name)) is RemoteValue

    def _container_has(self, name: str, value: Any) -> bool:
        """Whether the container has this value under this name."""
        return self.stand_ins.is_reachable(value) and self.stand_ins.is_current(name, value)


def _worth_naming(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order, without `_`, `__` and `_12`, under which IPython stores results."""
    return tuple(sorted(name for name in names if not is_result(name)))
