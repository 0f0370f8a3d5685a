"""The notebook's side of a session's variables: what must travel before a cell, what comes home after it.

A name is sent only if its fingerprint differs from the last sync in either direction (DESIGN decision 12), so an older
value here never overwrites a newer one there.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from modal_gpu_magic.errors import MachineError, RemoteValueError, TransferError
from modal_gpu_magic.plan.cell.secrets import looks_secret
from modal_gpu_magic.session.values import deferred_imports
from modal_gpu_magic.session.values.bindings import identity
from modal_gpu_magic.session.values.stand_ins import StandIns, is_result
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.inspection.marks import Group, Marks, names_of
from modal_gpu_magic.wire.inspection.size import nbytes_of
from modal_gpu_magic.wire.messages.events import LAST_RESULTS, RESULT, token_in
from modal_gpu_magic.wire.messages.versions import explained
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.transfer import unpack
from modal_gpu_magic.wire.values.referenced_globals import every_name, is_name, reach
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.plan.cell.names import Names
    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.messages.events import Answer, Transfer
    from modal_gpu_magic.wire.transfer import Packed
    from modal_gpu_magic.wire.values.imports import Import

LOOKED_UP_BYTES = 16_000_000
"""The largest value that travels because a cell may look up any name. One that a cell names may be larger."""


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What the header says of the variables: `--in`, `--no-in`, and the limit of `--send` in bytes."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int = 16 << 30


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a cell sends.

    Attributes:
        values: by name. groups: the same names with what their values look like, those that share objects together.
        held: of each name that stays here why, and the option that overrides.
        drops: names that the container has to delete. forgot: tokens of objects that the kernel gave up.
        hasher: knows the digests of the large buffers.
    """

    values: dict[str, Any] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    held: dict[str, str] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    forgot: tuple[int, ...] = ()
    hasher: Hasher = field(default_factory=Hasher)

    @property
    def nbytes(self) -> int:
        """About how many bytes the values have."""
        return sum(nbytes_of(value) for value in self.values.values())


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell brought: the last expression's value, if it has one, and what stayed there with the reasons."""

    result: Any = None
    has_result: bool = False
    stays: tuple[tuple[str, str], ...] = ()


class Values:
    """The variables of one session, seen from the notebook. `namespace` is the notebook's own, changed in place."""

    def __init__(self, session: str, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.session, self.namespace, self.hidden = session, namespace, hidden
        self.table = IdentityTable(side=0)
        self.marks = Marks(namespace, self.table)
        self.hasher = Hasher()
        self.lost: set[str] = set()
        self.alive: frozenset[str] = frozenset()
        """Names bound in the container after the last cell: one that is deleted here goes there, too."""
        self.stateless = False
        """The session is a cluster's: nothing lives there from one cell to the next."""
        self.unwritten: Callable[[memoryview], bytes | None] | None = None
        """Tells the digest of a buffer that came from the store and that nobody has written to since."""
        self.stand_ins = StandIns(session, namespace, hidden, self.table)
        self._bound: dict[str, tuple[type, tuple[str, Any]]] = {}

    def outgoing(self, names: Names, transfer_options: TransferOptions) -> Outgoing:
        """What must travel before the cell.

        Raises:
            TransferError: a value that the cell reads cannot travel: every such name, the reason, the way out.
        """
        hasher = self.hasher = Hasher(unwritten=self.unwritten)
        sure = (names.reads - names.maybe) | set(transfer_options.include)
        reached = self._reached(names, transfer_options)
        values, last, held = self._sorted_out(reached, transfer_options)
        groups: list[Group] = []
        for group in self.marks.look(values, hasher):
            if group.print is None:
                held.update({name: self._why_not(name, values[name]) for name in group.names})
            elif not self.marks.agrees(group):
                groups.append(group)
        for name, value in last.items():
            if fingerprint(value, self.namespace, hasher) is None:
                held[name] = self._why_not(name, value)
        sent = {name: (values | last)[name] for name in sorted(names_of(groups) | (last.keys() - held.keys()))}
        self._check(
            {name: why for name, why in held.items() if name in sure} or self._too_large(sent, transfer_options.limit)
        )
        drops = tuple(sorted(self._drops(names.binds - reached) - sent.keys()))
        self.table.prune(lambda: reached_from(self.namespace.values(), self.namespace))
        return Outgoing(sent, tuple(groups), held, drops, self.table.forgotten(), hasher)

    def _reached(self, names: Names, transfer_options: TransferOptions) -> set[str]:
        """Names whose values the cell may look up, by itself or through what it calls."""
        reached = reach((names.reads | set(transfer_options.include)) - set(transfer_options.exclude), self.namespace)
        if names.any_name:
            others = every_name(self.namespace) - reached - set(transfer_options.exclude)
            small = {name for name in others if nbytes_of(self.namespace[name]) <= LOOKED_UP_BYTES}
            reached |= reach(small, self.namespace)
        return reached | reach(self.stand_ins.shared_with_remote(reached), self.namespace)

    def _sorted_out(
        self, reached: AbstractSet[str], transfer_options: TransferOptions
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
        """The values that may travel, those of the last results, and why others stay here."""
        values: dict[str, Any] = {}
        last: dict[str, Any] = {}  # each side binds these anew with every result: no mark holds
        held: dict[str, str] = {}
        for name in sorted(reached):
            if not self._is_the_users(name, transfer_options):
                continue
            value = self.stand_ins.own(name)
            if self._is_there(name, value):
                continue
            reason = self._why_it_stays(name, value, transfer_options)
            if reason:
                held[name] = reason
            else:
                (last if name in LAST_RESULTS else values)[name] = value
        return values, last, held

    def incoming(
        self, answer: Answer, store: Store, fetch: Callable[[str], Any], count: int, unlike: Mapping[str, str]
    ) -> CellResult:
        """Bind what came home; also after an error and after a stop, as in a kernel.

        Args:
            answer: the container's.
            store: has its buffers.
            fetch: brings a value home that stayed.
            count: the cell's number.
            unlike: by module, what is to be said of packages that differ there.
        """
        self.alive = frozenset(answer.names)
        self.marks.forget(answer.forgot)
        self.marks.drop(answer.failed.keys())
        stays = {stay.name: stay for stay in answer.stays}
        result, has_result = self._bind(answer, store, fetch, unlike) if answer.values else (None, False)
        self._bind_imports(answer.imported)
        for name, stay in stays.items():
            there = f"_{count}" if name == RESULT else name  # where IPython keeps a cell's result
            way = None if stay.gone else fetch
            value = RemoteValue(there, self.session, stay.type_name, stay.summary, stay.why, stay.bundle, fetch=way)
            if name == RESULT:
                result, has_result = value, True
            else:
                self.namespace[name] = value
                self._forget_name(name)
                self.stand_ins.shares[name] = stay.shares
        self.table.stale.update(token for token in answer.stale if self.table.has(token))
        if answer.stale:
            self.stand_ins.cover(fetch)
        for name in answer.gone:
            self.namespace.pop(name, None)
            self._forget_name(name)
        self.stand_ins.uncover()
        return CellResult(result, has_result, tuple((n, stay.why) for n, stay in stays.items() if n != RESULT))

    def named_here(self, packed: Packed) -> tuple[int, ...]:
        """Tokens of objects that the container has, or gets with a transfer, and that have a name here alone."""
        new = {id(value): packed.transfer.base + number for number, value in packed.objects.items()}
        there = self.alive.union(packed.transfer.names)
        values = [value for name, value in self.namespace.items() if name not in there]
        return tuple({token for value in values if (token := self.table.token(value) or new.get(id(value), 0))})

    def sent(self, outgoing: Outgoing, packed: Packed | None) -> None:
        """The container has these values now."""
        if packed is not None:
            packed.arrived(self.table)
        for group in outgoing.groups:
            self.marks.transferred(group)
        self._note_bound(outgoing.values)
        self.lost.difference_update(outgoing.values)
        self.marks.drop(frozenset(outgoing.drops))
        self.table.told(outgoing.forgot)
        self.table.received.clear()

    def forget(self) -> tuple[str, ...]:
        """The container is gone: what was sent is sent again when read. Returns the names that lived only there."""
        self.marks.clear()
        self.table.clear()
        self.stand_ins.clear()
        self._bound.clear()
        self.alive = frozenset()
        self.lost = self._remote()
        return _worth_naming(self.lost)

    def fetched(self, name: str, transfer: Transfer, store: Store) -> Any:
        """The value that `to_fetch` asked for.

        Raises:
            MachineError: it cannot be made here, with the reason.
        """
        hasher = Hasher(unwritten=self.unwritten)
        arrived = unpack(transfer, self.namespace, store, hasher, table=self.table)
        for failed, why in arrived.failed.items():
            raise MachineError(f"{failed} cannot be fetched: {why}.")
        self.table.stale -= arrived.current
        self.table.received.append(transfer.base)
        value = self.stand_ins.own(name) if self.stand_ins.is_covered(name) else arrived.values[name]
        self.stand_ins.uncover()
        return value

    def remote_names(self) -> tuple[str, ...]:
        """Names whose values live in this session's container."""
        return _worth_naming(self._remote() - self.lost)

    def _remote(self) -> set[str]:
        """Names of values that only the container has."""
        names = (name for name, value in self.namespace.items() if self.stand_ins.lives_there(value))
        return {name for name in names if is_name(name)}

    def _bind(
        self, answer: Answer, store: Store, fetch: Callable[[str], Any], unlike: Mapping[str, str]
    ) -> tuple[Any, bool]:
        hasher = Hasher(unwritten=getattr(store, "unwritten", None))
        transfer = cast("Transfer", answer.values)
        arrived = unpack(transfer, self.namespace, store, hasher, table=self.table, bind=True)
        self.table.stale -= arrived.current
        _import(answer.submodules)
        result = arrived.values.pop(RESULT, None)
        named = {name: value for name, value in arrived.values.items() if token_in(name) is None}
        for name in named:
            self._forget_name(name)
        for group in self.marks.look(named, hasher):
            self.marks.transferred(group)
        self._note_bound(named)
        for name, why in arrived.failed.items():
            kind, line = answer.looks.get(name, ("object", ""))
            value = RemoteValue(name, self.session, kind, line, explained(why, unlike), {}, fetch=fetch)
            if name == RESULT:
                result = value
            elif token_in(name) is None:
                self.namespace[name] = value
                self._forget_name(name)
        return result, RESULT in transfer.names

    def _bind_imports(self, imported: Mapping[str, Import]) -> None:
        """Names that the cell bound by import statements: what they import is imported here when a cell needs it."""
        deferred_imports.bind(imported, self.namespace)
        for name in imported:
            self._forget_name(name)
        bound = {name: self.namespace[name] for name in imported}
        for group in self.marks.look(bound, Hasher()):
            self.marks.transferred(group)
        self._note_bound(bound)

    def _forget_name(self, name: str) -> None:
        """What was known of a name is over: the name was bound by the container, or has gone."""
        self.lost.discard(name)
        self.marks.drop(frozenset((name,)))
        self.stand_ins.forget_name(name)

    def _note_bound(self, names: Iterable[str]) -> None:
        """Both sides have these names alike now."""
        for name in names:
            value = self.stand_ins.own(name) if name in self.namespace else None
            self._bound[name] = type(value), identity(value, self.table)

    def _why_not(self, name: str, value: Any) -> str:
        return f"{why_not(value, self.namespace)}; leave it out with --no-in {name}"

    def _is_the_users(self, name: str, transfer_options: TransferOptions) -> bool:
        if name not in self.namespace or name in transfer_options.exclude:
            return False
        if name in LAST_RESULTS or name in transfer_options.include:
            return True
        return not (name in self.hidden and self.hidden[name] is self.namespace[name])

    def _why_it_stays(self, name: str, value: Any, transfer_options: TransferOptions) -> str | None:
        if name in self.lost and self.stand_ins.lives_there(value):
            return "it lived in a container that is gone; run the cell that made it again"
        if is_gone(value):
            return f"{facts(value).why or 'it is out of reach'}; run the cell that made it again"
        if type(value) is RemoteValue and not self.stand_ins.lives_there(value):
            other = facts(value).session
            if self.stateless:
                return (
                    f"it lives in session {other!r}, which no node of the cluster sees; {name} = {name}.fetch() first, "
                    "or write it to a Volume there and read it in the cell"
                )
            return (
                f"it lives in session {other!r}; run the cell with --session {other}, or {name} = {name}.fetch() first"
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
            lines = [f"`{name}` does not travel: {why}." for name, why in refused.items()]
            lost = all(name in self.lost or is_gone(self.namespace[name]) for name in refused)
            raise (RemoteValueError if lost else TransferError)("\n".join(lines))

    def _drops(self, bound: AbstractSet[str]) -> set[str]:
        """Names that the container deletes, so that their old values there are neither read nor brought home.

        They are gone here, were bound to something else here, or will be bound by a cell that does not read them.
        """
        old = {name for name in self.alive if name not in self.namespace or self._is_rebound(name)}
        return old | {name for name in bound & self.alive if not self._is_remote(name)}

    def _is_rebound(self, name: str) -> bool:
        """Whether a name is bound to another object here than when both sides had the name alike."""
        value = self.stand_ins.own(name)
        if type(value) is RemoteValue and self.stand_ins.lives_there(value):
            return False
        kind, then = self._bound.get(name, (None, None))
        return kind is not type(value) or then != identity(value, self.table)

    def _is_remote(self, name: str) -> bool:
        """Whether only the container has a name's value."""
        return name in self.namespace and type(self.stand_ins.own(name)) is RemoteValue

    def _is_there(self, name: str, value: Any) -> bool:
        """Whether the container has this very value under this name."""
        if not self.stand_ins.lives_there(value) or name in self.lost:
            return False
        return facts(value).name == name or name in LAST_RESULTS


def _worth_naming(names: Iterable[str]) -> tuple[str, ...]:
    """Names a user gave: not `_`, `__` and `_12`, under which IPython keeps results."""
    return tuple(sorted(name for name in names if not is_result(name)))


def _import(submodules: Iterable[str]) -> None:
    """`import xml.dom` binds `xml` and loads both; here, too."""
    for name in submodules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
