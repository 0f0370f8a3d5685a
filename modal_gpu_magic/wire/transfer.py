"""Pack values into a transfer (`pack`, `prepare`) and unpack a transfer into values (`unpack`).

The same code runs in the kernel and in the container. Each side fingerprints its own objects: the two fingerprints of
a value need not be equal, but each stays valid until the value changes. cloudpickle is imported on first use.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.errors import NoRoomError, TransferError
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.messages.events import Segment, Transfer
from modal_gpu_magic.wire.messages.seal import check, digest_of
from modal_gpu_magic.wire.pickles.depth import deep
from modal_gpu_magic.wire.pickles.fingerprints import ATOMS, is_flat
from modal_gpu_magic.wire.pickles.identity import with_identity
from modal_gpu_magic.wire.pickles.loading import Known, Loader, UnknownObjectsError
from modal_gpu_magic.wire.pickles.tolerant_unpickler import TolerantUnpickler
from modal_gpu_magic.wire.pickles.types.shared_memory import SharedMemory
from modal_gpu_magic.wire.pickles.types.tensors import is_plain, is_sliver
from modal_gpu_magic.wire.pickles.types.views import carriers
from modal_gpu_magic.wire.pickles.update_in_place import CONTAINERS, can_be_written
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.reasons import why_unpicklable
from modal_gpu_magic.wire.values.referenced_globals import imported_by
from modal_gpu_magic.wire.values.sources import gather, numbers, register, register_numbers
from modal_gpu_magic.wire.values.torch_facts import past_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.pickles.identity import IdentityTable
    from modal_gpu_magic.wire.pickles.pickling import TransferPickler

MESSAGE_BYTES = 1 << 20
"""A larger pickle stream goes into the buffer store, because a large message is slow."""

_AnyLoader = TypeVar("_AnyLoader", Loader, TolerantUnpickler)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The result of `unpack`."""

    values: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by name, for values that this side could not load: `needs torch, which is not installed`."""
    made: dict[str, Any] = field(default_factory=dict)
    """Classes and functions of the notebook that the transfer has by value, by their qualified names."""
    current: set[int] = field(default_factory=set)
    """Tokens of the objects that the transfer names: this side now has their current content."""
    new: set[int] = field(default_factory=set)
    """Tokens of the objects that this side did not have."""
    parts: dict[str, list[Any]] = field(default_factory=dict)
    """By name of a value that this side could not load, objects of this side in the value."""
    lost: set[int] = field(default_factory=set)
    """Tokens of objects of this side whose new content could not be loaded."""


def pack(
    values: Mapping[str, Any],
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    session: str | None = None,
) -> Transfer:
    """Pack values for a receiver that has none of their objects. The arguments are those of `prepare`."""
    return prepare(values, namespace, store, hasher, session=session).transfer


def prepare(
    values: Mapping[str, Any],
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    session: str | None = None,
    table: IdentityTable | None = None,
    file: io.BytesIO | None = None,
) -> Packed:
    """Pack values into one transfer; objects that the values share stay shared on the receiver's side.

    Args:
        values: values by name. The caller has fingerprinted each one, so each can be pickled.
        namespace: the notebook's globals.
        store: stores the large buffers.
        hasher: the hasher that made the fingerprints.
        session: the receiving session; a `RemoteValue` of another session is refused. None: no check.
        table: the objects that the receiver has, which the stream names by token; None: the receiver has none.
        file: collects the stream; None: a new `BytesIO`.

    Raises:
        TransferError: a value cannot be pickled; the message has the name and the reason.
    """
    if not values:
        return Packed(Transfer())
    return _prepared(values, namespace, store, hasher, session, table, io.BytesIO() if file is None else file)


@deep
def _prepared(
    values: Mapping[str, Any],
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None,
    session: str | None,
    table: IdentityTable | None,
    file: io.BytesIO,
) -> Packed:
    from modal_gpu_magic.wire.pickles.pickling import TransferPickler

    hashed, keys, sizes = hasher or Hasher(), list[str](), dict[str, int]()

    def keep(view: memoryview, temporary: bool) -> None:  # noqa: FBT001 - a callback
        known = hashed.known(view)
        key = store.put(view, None if known is None else known.hex(), keep=sizes.keys())
        if not temporary:
            hashed.remember(view, bytes.fromhex(key))
        keys.append(key)
        sizes[key] = view.nbytes

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
        cells=numbers(codes),
        nbytes=nbytes + sum(sizes.values()),
        modules=tuple(sorted(modules.union(*map(imported_by, codes)))),
        base=0 if table is None else table.next_base(),
    )
    return Packed(replace(transfer, digest=digest_of(transfer)), objects, named)


def _set_up(pickler: TransferPickler, hasher: Hasher, table: IdentityTable | None) -> None:
    """Set the arrays that share memory, whether autograd graphs may be left out, and the reducers found so far."""
    sharing = list(hasher.arrays.values())
    if table is not None and (sharing or "torch" in sys.modules):
        sharing += table.arrays()

    def is_known(value: Any) -> bool:
        return table is not None and table.token(value) != 0

    pickler.carriers = carriers(sharing, is_known)
    if "torch" in sys.modules:
        storages = [*hasher.storages.values(), *(() if table is None else table.storages())]
        pickler.memory = SharedMemory(sharing, storages, is_known)
    pickler.sends_graphs = table is not None and table.side == 1
    if hasher.rules is not None:
        pickler.rules = hasher.rules


def _segments(values: Mapping[str, Any], pickler: TransferPickler, table: IdentityTable | None) -> Iterator[Segment]:
    """Pickle the values one after the other into the pickler's stream."""
    from modal_gpu_magic.wire.pickles.pickling import outermost

    for name, value in sorted(values.items(), key=lambda item: _rank(item[1])):
        pickler.top = value
        pickler.met.clear()
        try:
            pickler.dump(value if id(value) in pickler.tensors else outermost(value, table))
        except NoRoomError as error:
            raise NoRoomError(f"Cannot send `{name}`: {error}. Free some of it, or leave `{name}` out.") from error
        except BaseException as error:
            pass_on(error)
            unsent = TransferError(f"Cannot send `{name}`: {why_unpicklable(value, error)}.")
            unsent.refused = name
            raise unsent from error
        yield Segment(name, _device(value, pickler.met))


@dataclass(frozen=True, slots=True)
class Packed:
    """A transfer, with the facts that the sender needs after the receiver has unpacked the transfer.

    Attributes:
        transfer: the transfer.
        objects: the objects that are new to the receiver, by their number in the stream.
        named: tokens of the objects that the stream names.
    """

    transfer: Transfer
    objects: Mapping[int, Any] = field(default_factory=dict)
    named: frozenset[int] = frozenset()

    @property
    def tokens(self) -> set[int]:
        """The tokens of all objects whose content the receiver has after it has unpacked the transfer."""
        return {*self.named, *(self.transfer.base + number for number in self.objects)}

    def arrived(self, table: IdentityTable) -> None:
        """Give tokens to the objects that were new to the receiver; call this after the receiver has unpacked."""
        if self.transfer.base:
            table.learn(self.transfer.base, self.objects)


def _unchanged_since(table: IdentityTable | None, hasher: Hasher) -> Callable[[Any, int], bool] | None:
    """Return a function that says whether the owner of a large buffer is unchanged since the last transfer."""
    if table is None or not table.digests:
        return None
    digests = table.digests

    def unchanged(value: Any, token: int) -> bool:
        digest, (_, now) = digests.get(token), hasher.leaves.get(id(value), (None, None))
        return digest is not None and digest == now

    return unchanged


def unpack(
    transfer: Transfer,
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    table: IdentityTable | None = None,
    bind: bool = False,
    restore_devices: bool = False,
    only: AbstractSet[int] | None = None,
    homes: Callable[[int, type], Any] | None = None,
) -> Unpacked:
    """Load the values of a transfer.

    Args:
        transfer: the transfer, from `pack`.
        namespace: the globals of the functions in the transfer.
        store: has the buffers.
        hasher: stores the digests of the buffers, so that later fingerprints need not read the buffers.
        table: objects that this side has; their new content is written in place (`wire.pickles.update_in_place`).
        bind: bind each name as soon as its value is loaded, because a later value may look the name up while it is
            loaded. False: the namespace is not changed.
        restore_devices: move tensors to the GPU that they were on, if this machine has that GPU; False: keep them on
            the CPU.
        only: tokens of the objects to write into; this side has current content of its other objects. None: all.
        homes: returns this side's object for a token and a type that the table does not have, or None.

    Raises:
        DamagedError: the transfer was damaged.
        TransferError: a buffer is missing.
        UnknownObjectsError: the transfer names objects that this side does not have.
    """
    check(transfer, store)
    if not transfer.segments:
        return Unpacked()
    known = partial(Known, table, only, homes)
    arrival = _Arrival(transfer, namespace, store, hasher, table, known, bind=bind, restore_devices=restore_devices)
    return _unpacked(transfer, namespace, arrival)


@deep
def _unpacked(transfer: Transfer, namespace: dict[str, Any], arrival: _Arrival) -> Unpacked:
    register(transfer.sources)
    register_numbers(transfer.cells)
    builtins = namespace.get("__builtins__")
    try:
        return arrival.whole() or arrival.salvaged()
    finally:
        if builtins is not None:  # cloudpickle replaces `__builtins__` in a function's globals
            namespace["__builtins__"] = builtins


class _Arrival:
    """State of one `unpack`; the arguments are those of `unpack`. `known`: makes the objects that this side has."""

    def __init__(
        self,
        transfer: Transfer,
        namespace: dict[str, Any],
        store: Store,
        hasher: Hasher | None,
        table: IdentityTable | None,
        known: Callable[[], Known],
        *,
        bind: bool,
        restore_devices: bool,
    ) -> None:
        self._known = known
        self._transfer, self._namespace, self._store = transfer, namespace, store
        self._hasher, self._table, self._bind, self._restore_devices = hasher, table, bind, restore_devices

    def whole(self) -> Unpacked | None:
        """Load all values with the fast loader. None: a value cannot be loaded."""
        known = self._known()
        loader = self._open(Loader, known)
        values: dict[str, Any] = {}
        try:
            for segment in self._transfer.segments:
                self._take(values, segment.name, loader.load())
        except UnknownObjectsError:
            raise
        except BaseException as error:  # noqa: BLE001 - a user's class may raise anything; the tolerant unpickler reports the reason
            pass_on(error)
            known.restore_cells()
            return None
        return self._settled(Unpacked(values, current=known.current), known, loader.memo.copy())

    def salvaged(self) -> Unpacked:
        """Load the values that can be loaded, and collect the reasons for the others."""
        known = self._known()
        loader = self._open(TolerantUnpickler, known)
        values: dict[str, Any] = {}
        failed: dict[str, str] = {}
        parts: dict[str, list[Any]] = {}
        for segment in self._transfer.segments:
            value = loader.load_name(segment.name)
            if loader.loss is None:
                self._take(values, segment.name, value)
            else:
                failed[segment.name], parts[segment.name] = loader.loss, loader.parts()
        unpacked = Unpacked(values, failed, current=known.current, parts=parts, lost=set(loader.lost_tokens()))
        whole = loader.whole_memo()
        if self._table is not None and self._transfer.base:
            self._table.lack(self._transfer.base + number for number in loader.memo.keys() - whole.keys())
        return self._settled(unpacked, known, whole)

    def _take(self, values: dict[str, Any], name: str, value: Any) -> None:
        values[name] = value
        if self._bind and not name.startswith("<"):
            self._namespace[name] = value

    def _settled(self, unpacked: Unpacked, known: Known, memo: dict[int, Any]) -> Unpacked:
        """Register the loaded objects, by number, in this side's table and return `unpacked`."""
        known.settle(memo)
        unpacked.made.update({value.__qualname__: value for value in filter(_is_definition, memo.values())})
        if self._table is not None and self._transfer.base:
            objects = with_identity(memo.items(), (*known.discarded, self._namespace))
            self._table.learn(self._transfer.base, objects)
            unpacked.new.update(self._transfer.base + number for number in objects)
        return unpacked

    def _open(self, loader: type[_AnyLoader], known: Known) -> _AnyLoader:
        body = self._store.get(self._transfer.body) if self._transfer.body else self._transfer.stream
        file = body if hasattr(body, "readline") else io.BytesIO(body)  # a mapped file needs no copy
        opened = loader(file, self._namespace, known, self._buffers(), restore_devices=self._restore_devices)
        if self._transfer.segments:
            opened.load()  # the first pickle of the stream is the namespace
        return opened

    def _buffers(self) -> Iterator[Any]:
        for key in self._transfer.buffers:
            buffer = self._store.get(key)
            if self._hasher is not None:
                self._hasher.remember(memoryview(buffer), bytes.fromhex(key))
            yield buffer


def _is_definition(value: Any) -> bool:
    """Whether pickle looks a class or a function up in the notebook's globals."""
    if type(value) is not FunctionType and not is_a(value, type):
        return False
    try:
        return bool(value.__module__ == "__main__" and value.__qualname__.isidentifier())
    except BaseException as error:  # noqa: BLE001 - of a metaclass
        pass_on(error)
        return False


def _rank(value: Any) -> int:
    """Return the sort key of a value: names that loading may look up come first, small views of storages last.

    A method of the notebook that runs while an object is loaded (`__setstate__`, `__hash__`) uses global names.
    """
    if is_a(value, ModuleType):
        return 0
    if is_a(value, type | FunctionType):
        return 1
    if is_sliver(value):
        return 4
    return 2 if _is_simple(value) else 3


def _is_simple(value: Any) -> bool:
    """Whether a value is an atom, a built-in container of atoms, or an array."""
    return is_flat(value) if type(value) in CONTAINERS else type(value) in ATOMS or can_be_written(value)


def _device(value: Any, met: set[str]) -> str | None:
    return _device_of(value) if is_plain(value) else min(met, default=None)


@past_class
def _device_of(tensor: Any) -> str | None:
    return None if tensor.device.type == "cpu" else str(tensor.device)
