"""The notebook's side of a session's variables: what must travel before a cell, what comes home after it.

A name is sent only if its fingerprint differs from the last sync in either direction (DESIGN decision 12), so an older
value here never overwrites a newer one there.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from modal_gpu_magic.errors import RemoteValueError, TransferError
from modal_gpu_magic.plan.secrets import looks_secret
from modal_gpu_magic.wire.events import LAST_RESULTS, RESULT
from modal_gpu_magic.wire.hashing import Hasher
from modal_gpu_magic.wire.reach import reach
from modal_gpu_magic.wire.remote import RemoteValue, facts, is_gone
from modal_gpu_magic.wire.size import nbytes_of
from modal_gpu_magic.wire.transfer import fingerprint, unpack, why_not
from modal_gpu_magic.wire.versions import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modal_gpu_magic.plan.names import Names
    from modal_gpu_magic.wire.buffers import Store
    from modal_gpu_magic.wire.events import Answer, Transfer


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the header says of the variables: `--in`, `--no-in`, and the limit of `--send` in bytes."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int = 16 << 30


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a cell sends. `held` says of each name that stays here why, and the option that overrides."""

    values: dict[str, Any] = field(default_factory=dict)
    prints: dict[str, bytes] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    drops: tuple[str, ...] = ()
    hasher: Hasher = field(default_factory=Hasher)

    @property
    def nbytes(self) -> int:
        """About how many bytes the values have."""
        return sum(nbytes_of(value) for value in self.values.values())


@dataclass(frozen=True, slots=True)
class Homecoming:
    """What a cell brought: the last expression's value, if it has one, and what stayed there with the reasons."""

    result: Any = None
    has_result: bool = False
    stays: tuple[tuple[str, str], ...] = ()


class Values:
    """The variables of one session, seen from the notebook. `namespace` is the notebook's own, changed in place."""

    def __init__(self, session: str, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.session, self.namespace, self.hidden = session, namespace, hidden
        self.synced: dict[str, bytes] = {}
        self.lost: set[str] = set()
        self.alive: frozenset[str] = frozenset()
        """Names bound in the container after the last cell: one that is deleted here goes there, too."""
        self.stateless = False
        """The session is a cluster's: nothing lives there from one cell to the next."""
        self.unwritten: Callable[[memoryview], bytes | None] | None = None
        """Tells the digest of a buffer that came from the store and that nobody has written to since."""

    def outgoing(self, names: Names, wishes: Wishes) -> Outgoing:
        """What must travel before the cell.

        Raises:
            TransferError: a value that the cell reads cannot travel: every such name, the reason, the way out.
        """
        hasher = Hasher(unwritten=self.unwritten)
        needed = (names.reads | set(wishes.include)) - set(wishes.exclude)
        sure = (names.reads - names.maybe) | set(wishes.include)
        wanted = [name for name in sorted(reach(needed, self.namespace)) if self._is_the_users(name, wishes)]
        values: dict[str, Any] = {}
        prints: dict[str, bytes] = {}
        held: dict[str, str] = {}
        for name in wanted:
            value = self.namespace[name]
            if self._is_there(name, value):
                continue
            reason = self._why_it_stays(name, value, wishes)
            mark = None if reason else fingerprint(value, self.namespace, hasher)
            if reason or mark is None:
                held[name] = reason or f"{why_not(value, self.namespace)}; leave it out with --no-in {name}"
            elif name in LAST_RESULTS:
                values[name] = value  # each side binds it anew with every result: no sync holds
            elif self.synced.get(name) != mark:
                values[name], prints[name] = value, mark
        self._check({name: why for name, why in held.items() if name in sure})
        self._check(self._too_large(values, wishes.limit))
        return Outgoing(values, prints, held, self._drops(), hasher)

    def incoming(
        self, answer: Answer, store: Store, fetch: Callable[[str], Any], count: int, unlike: Mapping[str, str]
    ) -> Homecoming:
        """Bind what came home; also after an error and after a stop, as in a kernel.

        Args:
            answer: the container's.
            store: has its buffers.
            fetch: brings a value home that stayed.
            count: the cell's number.
            unlike: by module, what is to be said of packages that differ there.
        """
        self.alive = frozenset(answer.names)
        stays = {stay.name: stay for stay in answer.stays}
        result, has_result = self._bind(answer, store, fetch, unlike) if answer.values else (None, False)
        for name, stay in stays.items():
            there = f"_{count}" if name == RESULT else name  # where IPython keeps a cell's result
            way = None if stay.gone else fetch
            value = RemoteValue(there, self.session, stay.type_name, stay.summary, stay.why, stay.bundle, fetch=way)
            if name == RESULT:
                result, has_result = value, True
            else:
                self.namespace[name] = value
                self.synced.pop(name, None)
                self.lost.discard(name)
        for name in answer.gone:
            self.namespace.pop(name, None)
            self.synced.pop(name, None)
        return Homecoming(result, has_result, tuple((n, stay.why) for n, stay in stays.items() if n != RESULT))

    def sent(self, outgoing: Outgoing) -> None:
        """The container has these values now."""
        self.synced.update(outgoing.prints)
        self.lost.difference_update(outgoing.prints)
        for name in outgoing.drops:
            self.synced.pop(name, None)

    def forget(self) -> tuple[str, ...]:
        """The container is gone: what was sent is sent again when read. Returns the names that lived only there."""
        self.synced.clear()
        self.alive = frozenset()
        self.lost = {name for name, value in self.namespace.items() if self._lives_there(value)}
        return _worth_naming(self.lost)

    def remote_names(self) -> tuple[str, ...]:
        """Names whose values live in this session's container."""
        return _worth_naming(n for n, v in self.namespace.items() if self._lives_there(v) and n not in self.lost)

    def _bind(
        self, answer: Answer, store: Store, fetch: Callable[[str], Any], unlike: Mapping[str, str]
    ) -> tuple[Any, bool]:
        hasher = Hasher(unwritten=getattr(store, "unwritten", None))
        here = {name: self.namespace[name] for name in answer.kept if name in self.namespace}
        arrived = unpack(cast("Transfer", answer.values), self.namespace, store, hasher, into=here)
        _import(answer.submodules)
        result = arrived.values.pop(RESULT, None)
        self.namespace.update(arrived.values)
        self.lost.difference_update(arrived.values)
        for name in arrived.values:
            self._mark(name, hasher)
        for name, why in arrived.failed.items():
            kind, line = answer.looks.get(name, ("object", ""))
            value = RemoteValue(name, self.session, kind, line, explained(why, unlike), {}, fetch=fetch)
            if name == RESULT:
                result = value
            else:
                self.namespace[name] = value
        return result, RESULT in cast("Transfer", answer.values).names

    def _mark(self, name: str, hasher: Hasher) -> None:
        """Both sides have this value now."""
        mark = fingerprint(self.namespace[name], self.namespace, hasher)
        if mark is not None:
            self.synced[name] = mark

    def _is_the_users(self, name: str, wishes: Wishes) -> bool:
        if name not in self.namespace or name in wishes.exclude:
            return False
        if name in LAST_RESULTS or name in wishes.include:
            return True
        return not (name in self.hidden and self.hidden[name] is self.namespace[name])

    def _why_it_stays(self, name: str, value: Any, wishes: Wishes) -> str | None:
        if name in self.lost and self._lives_there(value):
            return "it lived in a container that is gone; run the cell that made it again"
        if self._is_gone(value):
            return f"{facts(value).why or 'it is out of reach'}; run the cell that made it again"
        if type(value) is RemoteValue and not self._lives_there(value):
            other = facts(value).session
            if self.stateless:
                return (
                    f"it lives in session {other!r}, which no node of the cluster sees; {name} = {name}.fetch() first, "
                    "or write it to a Volume there and read it in the cell"
                )
            return (
                f"it lives in session {other!r}; run the cell with --session {other}, or {name} = {name}.fetch() first"
            )
        secret = None if name in wishes.include else looks_secret(name, value)
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
            lost = all(name in self.lost or self._is_gone(self.namespace[name]) for name in refused)
            raise (RemoteValueError if lost else TransferError)("\n".join(lines))

    def _drops(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in {*self.alive, *self.synced} if name not in self.namespace))

    def _is_there(self, name: str, value: Any) -> bool:
        """Whether the container has this very value under this name."""
        return (
            self._lives_there(value) and name not in self.lost and (facts(value).name == name or name in LAST_RESULTS)
        )

    @staticmethod
    def _is_gone(value: Any) -> bool:
        """Whether it was a rank's, and ended with it."""
        return type(value) is RemoteValue and is_gone(value)

    def _lives_there(self, value: Any) -> bool:
        return type(value) is RemoteValue and facts(value).session == self.session and not is_gone(value)


def _worth_naming(names: Iterable[str]) -> tuple[str, ...]:
    """Names a user gave: not `_`, `__` and `_12`, under which IPython keeps results."""
    return tuple(sorted(name for name in names if not _is_result(name)))


def _is_result(name: str) -> bool:
    return name in LAST_RESULTS or (name.startswith("_") and name[1:].isdigit())


def _import(submodules: Iterable[str]) -> None:
    """`import xml.dom` binds `xml` and loads both; here, too."""
    for name in submodules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
