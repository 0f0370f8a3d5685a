"""Values across: `fingerprint` and `why_not` look at one, `pack` makes a transfer of many, `unpack` takes it in.

The same code runs in the kernel and in the container. Each side fingerprints its own objects: a value's two need not
be equal, but each holds as long as the value does not change. cloudpickle is loaded when it is first needed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.messages.events import Segment, Transfer
from modal_gpu_magic.wire.messages.seal import check, digest_of
from modal_gpu_magic.wire.pickles.depth import deep
from modal_gpu_magic.wire.pickles.fingerprints import ATOMS, is_flat
from modal_gpu_magic.wire.pickles.identity import with_identity
from modal_gpu_magic.wire.pickles.loading import Known, Loader, UnknownObjectsError
from modal_gpu_magic.wire.pickles.tolerant_unpickler import Salvager
from modal_gpu_magic.wire.pickles.types.tensors import is_plain, is_sliver
from modal_gpu_magic.wire.pickles.types.views import carriers, memory_of
from modal_gpu_magic.wire.pickles.update_in_place import CONTAINERS, can_be_written
from modal_gpu_magic.wire.values.reasons import why_unpicklable
from modal_gpu_magic.wire.values.referenced_globals import imported_by
from modal_gpu_magic.wire.values.sources import gather, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.pickles.identity import IdentityTable
    from modal_gpu_magic.wire.pickles.pickling import TransferPickler

MESSAGE_BYTES = 1 << 20
"""A stream above this goes where the buffers go, if that is not the message: it would slow down the message."""

_AnyLoader = TypeVar("_AnyLoader", Loader, Salvager)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a transfer brought."""

    values: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Names whose values could not be made here, with the reason: `needs torch, which is not installed here`."""
    made: dict[str, Any] = field(default_factory=dict)
    """Classes and functions of the notebook that came by value, by their names."""
    current: set[int] = field(default_factory=set)
    """Tokens of the objects that the transfer has named: this side has their current content."""


def pack(
    values: Mapping[str, Any],
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    session: str | None = None,
) -> Transfer:
    """One transfer of all these values to a receiver that has none of their objects. The arguments are `prepare`'s."""
    return prepare(values, namespace, store, hasher, session=session).transfer


@deep
def prepare(
    values: Mapping[str, Any],
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    session: str | None = None,
    table: IdentityTable | None = None,
) -> Packed:
    """One transfer of all these values; what they share they will share over there.

    Args:
        values: by name. That each can be pickled is known from its fingerprint.
        namespace: the notebook's globals.
        store: takes the large buffers.
        hasher: the one the fingerprints were made with.
        session: where the transfer goes; a `RemoteValue` of another session is refused. None: not checked.
        table: the objects that the receiver has, which are named by token; None: the receiver has none.

    Raises:
        TransferError: a value cannot be pickled after all; it is named, with the reason.
    """
    from modal_gpu_magic.wire.pickles.pickling import TransferPickler

    hashed, keys, sizes = hasher or Hasher(), list[str](), dict[str, int]()

    def keep(view: memoryview, temporary: bool) -> None:  # noqa: FBT001 - a callback
        known = hashed.known(view)
        key = store.put(view, None if known is None else known.hex(), keep=sizes.keys())
        if not temporary:
            hashed.remember(view, bytes.fromhex(key))
        keys.append(key)
        sizes[key] = view.nbytes

    file = io.BytesIO()
    pickler = TransferPickler(file, namespace, keep, table, _unchanged_since(table, hashed))
    pickler.session = session
    _set_up(pickler, hashed, table)
    try:
        segments = tuple(_segments(values, pickler, table))
        objects = {} if table is None else pickler.objects()
        named, codes, modules = frozenset(pickler.named), tuple(pickler.codes.values()), pickler.modules
    finally:
        pickler.close()
    nbytes, body = file.tell(), ""
    if nbytes > MESSAGE_BYTES and not store.in_message:
        body = store.put(file.getbuffer(), keep=sizes.keys())
        keys.append(body)
    transfer = Transfer(
        stream=b"" if body else file.getvalue(),  # no copy: BytesIO shares the bytes that it has
        body=body,
        segments=segments,
        buffers=tuple(keys),
        inline=store.inline,
        sources=gather(codes),
        nbytes=nbytes + sum(sizes.values()),
        modules=tuple(sorted(modules.union(*map(imported_by, codes)))),
        base=0 if table is None else table.next_base(),
    )
    return Packed(replace(transfer, digest=digest_of(transfer)), objects, named)


def _set_up(pickler: TransferPickler, hasher: Hasher, table: IdentityTable | None) -> None:
    """Tell a pickler which arrays share memory, whether graphs may stay behind, and the rules that are known."""
    sharing = list(hasher.arrays.values())
    if table is not None and (sharing or "torch" in sys.modules):
        sharing += table.arrays()
    pickler.carriers, pickler.memory = carriers(sharing), memory_of(sharing)
    pickler.sends_graphs = table is not None and table.side == 1
    if hasher.rules is not None:
        pickler.rules = hasher.rules


def _segments(values: Mapping[str, Any], pickler: TransferPickler, table: IdentityTable | None) -> Iterator[Segment]:
    """Dump the values one after the other."""
    from modal_gpu_magic.wire.pickles.pickling import outermost

    for name, value in sorted(values.items(), key=lambda item: _rank(item[1])):
        pickler.top = value
        pickler.met.clear()
        try:
            pickler.dump(value if id(value) in pickler.tensors else outermost(value, table))
        except Exception as error:
            raise TransferError(f"`{name}` cannot travel: {why_unpicklable(value, error)}.") from error
        yield Segment(name, _device(value, pickler.met))


@dataclass(frozen=True, slots=True)
class Packed:
    """A transfer, and what its sender remembers of it.

    Attributes:
        objects: the objects new to the receiver, by their number in the stream.
        named: tokens of the objects that the stream names.
    """

    transfer: Transfer
    objects: Mapping[int, Any] = field(default_factory=dict)
    named: frozenset[int] = frozenset()

    def arrived(self, table: IdentityTable) -> None:
        """The receiver has taken the transfer in: give tokens to the objects that are new there."""
        if self.transfer.base:
            table.learn(self.transfer.base, self.objects)


def _unchanged_since(table: IdentityTable | None, hasher: Hasher) -> Callable[[Any, int], bool] | None:
    """Tells whether the owner of a large buffer has the content that it had at the last transfer."""
    if table is None or not table.digests:
        return None
    digests = table.digests

    def unchanged(value: Any, token: int) -> bool:
        digest, (_, now) = digests.get(token), hasher.leaves.get(id(value), (None, None))
        return digest is not None and digest == now

    return unchanged


@deep
def unpack(
    transfer: Transfer,
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    table: IdentityTable | None = None,
    bind: bool = False,
    restore_devices: bool = False,
) -> Unpacked:
    """The values of a transfer.

    Args:
        transfer: what `pack` made.
        namespace: becomes the globals of the functions that arrive.
        store: has the buffers.
        hasher: learns the digests of the buffers, so that fingerprints of what arrived take no reading.
        table: the objects that are here already; what arrives is written into them (`wire.pickles.update_in_place`).
        bind: bind each name as soon as its value is made, for the values that follow may look the name up while they
            are made. Else the namespace is left as it is.
        restore_devices: put tensors back on the GPU they were on, if this machine has it; else they stay on the host.

    Raises:
        DamagedError: the transfer is not what was sent. TransferError: a buffer is missing.
        UnknownObjectsError: the transfer names objects that are not here.
    """
    check(transfer, store)
    spread(transfer.sources)
    builtins = namespace.get("__builtins__")
    arrival = _Arrival(transfer, namespace, store, hasher, table, bind=bind, restore_devices=restore_devices)
    try:
        return arrival.whole() or arrival.salvaged()
    finally:
        if builtins is not None:  # cloudpickle sets a function's globals a `__builtins__` of its own
            namespace["__builtins__"] = builtins


class _Arrival:
    """One transfer being taken in; the arguments are those of `unpack`."""

    def __init__(
        self,
        transfer: Transfer,
        namespace: dict[str, Any],
        store: Store,
        hasher: Hasher | None,
        table: IdentityTable | None,
        *,
        bind: bool,
        restore_devices: bool,
    ) -> None:
        self._transfer, self._namespace, self._store = transfer, namespace, store
        self._hasher, self._table, self._bind, self._restore_devices = hasher, table, bind, restore_devices

    def whole(self) -> Unpacked | None:
        """All values, by the fast loader; None if one cannot be made."""
        known = Known(self._table)
        loader = self._open(Loader, known)
        values: dict[str, Any] = {}
        try:
            for segment in self._transfer.segments:
                self._take(values, segment.name, loader.load())
        except UnknownObjectsError:
            raise
        except Exception:  # noqa: BLE001 - whatever a user's class raises when it is made; the salvager says it
            return None
        return self._settled(Unpacked(values, current=known.current), known, loader)

    def salvaged(self) -> Unpacked:
        """The values that can be made, and why the others cannot."""
        known = Known(self._table)
        loader = self._open(Salvager, known)
        values: dict[str, Any] = {}
        failed: dict[str, str] = {}
        for segment in self._transfer.segments:
            value = loader.load_name(segment.name)
            if loader.loss is None:
                self._take(values, segment.name, value)
            else:
                failed[segment.name] = loader.loss
        return self._settled(Unpacked(values, failed, current=known.current), known, loader)

    def _take(self, values: dict[str, Any], name: str, value: Any) -> None:
        values[name] = value
        if self._bind and not name.startswith("<"):
            self._namespace[name] = value

    def _settled(self, unpacked: Unpacked, known: Known, loader: Loader | Salvager) -> Unpacked:
        """The same, once both sides' tables agree on what has arrived."""
        memo: dict[int, Any] = loader.memo.copy()
        known.settle(memo)
        unpacked.made.update({value.__qualname__: value for value in filter(_is_definition, memo.values())})
        if self._table is not None and self._transfer.base:
            objects = with_identity(memo.items(), (*known.discarded, self._namespace))
            self._table.learn(self._transfer.base, objects)
        return unpacked

    def _open(self, loader: type[_AnyLoader], known: Known) -> _AnyLoader:
        body = self._store.get(self._transfer.body) if self._transfer.body else self._transfer.stream
        file = body if hasattr(body, "readline") else io.BytesIO(body)  # a mapped file can be read where it is
        opened = loader(file, self._namespace, known, self._buffers(), restore_devices=self._restore_devices)
        if self._transfer.segments:
            opened.load()  # the namespace: the stream's beginning
        return opened

    def _buffers(self) -> Iterator[Any]:
        for key in self._transfer.buffers:
            buffer = self._store.get(key)
            if self._hasher is not None:
                self._hasher.remember(memoryview(buffer), bytes.fromhex(key))
            yield buffer


def _is_definition(value: Any) -> bool:
    """Whether pickle would look for a class or a function among the notebook's globals."""
    if type(value) is not FunctionType and not isinstance(value, type):
        return False
    return value.__module__ == "__main__" and value.__qualname__.isidentifier()


def _rank(value: Any) -> int:
    """In which order values go: what others look up while they are made first, parts of large storages last.

    A method of the notebook's that runs while its object is made (`__setstate__`, `__hash__`) uses global names.
    """
    if isinstance(value, ModuleType):
        return 0
    if isinstance(value, type | FunctionType):
        return 1
    if is_sliver(value):
        return 4
    return 2 if _is_simple(value) else 3


def _is_simple(value: Any) -> bool:
    """Whether a value is made of the standard library's own atoms, or is an array."""
    return is_flat(value) if type(value) in CONTAINERS else type(value) in ATOMS or can_be_written(value)


def _device(value: Any, met: set[str]) -> str | None:
    if is_plain(value):
        return None if value.device.type == "cpu" else str(value.device)
    return min(met, default=None)
