"""Values across: `fingerprint` and `why_not` look at one, `pack` makes a transfer of many, `unpack` takes it in.

The same code runs in the kernel and in the container. Each side fingerprints its own objects: a value's two need not
be equal, but each holds as long as the value does not change. cloudpickle is loaded when it is first needed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.absorb import CONTAINERS, can_be_written
from modal_gpu_magic.wire.events import Segment, Transfer
from modal_gpu_magic.wire.hashing import Hasher, HashingFile
from modal_gpu_magic.wire.loading import Loader, Roots
from modal_gpu_magic.wire.reach import imported_by
from modal_gpu_magic.wire.reasons import why_unpicklable
from modal_gpu_magic.wire.salvage import Salvager
from modal_gpu_magic.wire.sources import gather, spread
from modal_gpu_magic.wire.tensors import is_plain, is_sliver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modal_gpu_magic.wire.buffers import Store

MESSAGE_BYTES = 1 << 20
"""A stream above this goes where the buffers go: it would slow down the message it is in."""

_AnyLoader = TypeVar("_AnyLoader", Loader, Salvager)

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a transfer brought."""

    values: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Names whose values could not be made here, with the reason: `needs torch, which is not installed here`."""
    kept: frozenset[str] = frozenset()
    """Names whose values were here already, and have been written into."""


def fingerprint(value: Any, namespace: dict[str, Any], hasher: Hasher | None = None) -> bytes | None:
    """16 bytes that stay the same while a value does, as far as its pickle can tell.

    Args:
        value: any value.
        namespace: the notebook's globals; what a function refers to there is no part of it.
        hasher: shared by the calls for one transfer, so that a large buffer is read once.

    Returns:
        The fingerprint. None: the value cannot be pickled, or the hasher's time was up (`hasher.spent`).
    """
    from modal_gpu_magic.wire.pickling import HashPickler, outermost

    hashed, digests = hasher or Hasher(), list[bytes]()

    def keep(view: memoryview, temporary: bool) -> None:  # noqa: FBT001 - a callback
        digests.append(hashed.digest(view, remember=not temporary))

    file = HashingFile(hashed)
    try:
        HashPickler(file, namespace, keep).dump(outermost(value))
    except Exception:  # noqa: BLE001 - whatever a user's class raises when it is pickled; `why_not` says it
        return None
    return file.digest(*digests)


def why_not(value: Any, namespace: dict[str, Any]) -> str | None:
    """Why a value cannot be pickled: `it holds a lock (_thread.lock)`. None: it can."""
    from modal_gpu_magic.wire.pickling import HashPickler, outermost

    try:
        HashPickler(HashingFile(Hasher()), namespace, lambda _view, _temporary: None).dump(outermost(value))
    except Exception as error:  # noqa: BLE001 - whatever a user's class raises when it is pickled
        return why_unpicklable(value, error)
    return None


def pack(
    values: Mapping[str, Any],
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    session: str | None = None,
) -> Transfer:
    """One transfer of all these values; what they share they will share over there.

    Args:
        values: by name. That each can be pickled is known from its fingerprint.
        namespace: the notebook's globals.
        store: takes the large buffers.
        hasher: the one the fingerprints were made with.
        session: where the transfer goes; a `RemoteValue` of another session is refused. None: not checked.

    Raises:
        TransferError: a value cannot be pickled after all; it is named, with the reason.
    """
    from modal_gpu_magic.wire.pickling import TransferPickler, outermost

    hashed, keys, sizes = hasher or Hasher(), list[str](), dict[str, int]()

    def keep(view: memoryview, temporary: bool) -> None:  # noqa: FBT001 - a callback
        known = hashed.known(view)
        key = store.put(view, None if known is None else known.hex(), keep=sizes.keys())
        if not temporary:
            hashed.remember(view, bytes.fromhex(key))
        keys.append(key)
        sizes[key] = view.nbytes

    file, roots = io.BytesIO(), _roots(values.values(), namespace)
    pickler = TransferPickler(file, namespace, keep, roots)
    pickler.session = session
    segments = []
    for name, value in sorted(values.items(), key=lambda item: _rank(item[1])):
        pickler.top = value
        pickler.met.clear()
        try:
            pickler.dump(value if id(value) in roots else outermost(value))
        except Exception as error:
            raise TransferError(f"`{name}` cannot travel: {why_unpicklable(value, error)}.") from error
        segments.append(Segment(name, roots.get(id(value)), _device(value, pickler.met)))
    stream, body = file.getbuffer(), ""
    if stream.nbytes > MESSAGE_BYTES:
        body = store.put(stream, keep=sizes.keys())
        keys.append(body)
    return Transfer(
        stream=b"" if body else bytes(stream),
        body=body,
        segments=tuple(segments),
        buffers=tuple(keys),
        inline=store.inline,
        sources=gather(pickler.codes),
        nbytes=stream.nbytes + sum(sizes.values()),
        modules=tuple(sorted(pickler.modules.union(*map(imported_by, pickler.codes)))),
    )


def unpack(
    transfer: Transfer,
    namespace: dict[str, Any],
    store: Store,
    hasher: Hasher | None = None,
    *,
    into: Mapping[str, Any] | None = None,
    restore_devices: bool = False,
) -> Unpacked:
    """The values of a transfer. The namespace itself is left as it is.

    Args:
        transfer: what `pack` made.
        namespace: becomes the globals of the functions that arrive.
        store: has the buffers.
        hasher: learns the digests of the buffers, so that fingerprints of what arrived take no reading.
        into: by name, objects that are here already and were changed in place over there: what arrives is written into
            them where it can be (`wire.absorb`), and whatever else arrives refers to them.
        restore_devices: put tensors back on the GPU they were on, if this machine has it; else they stay on the host.

    Raises:
        TransferError: a buffer is missing.
    """
    spread(transfer.sources)
    builtins = namespace.get("__builtins__")
    arrival = _Arrival(transfer, namespace, store, hasher, into or {}, restore_devices=restore_devices)
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
        into: Mapping[str, Any],
        *,
        restore_devices: bool,
    ) -> None:
        self._transfer, self._namespace, self._store = transfer, namespace, store
        self._hasher, self._into, self._restore_devices = hasher, into, restore_devices

    def whole(self) -> Unpacked | None:
        """All values, by the fast loader; None if one cannot be made."""
        roots = self._find_roots()
        loader = self._open(Loader, roots)
        try:
            values = {segment.name: loader.load() for segment in self._transfer.segments}
        except Exception:  # noqa: BLE001 - whatever a user's class raises when it is made; the salvager says it
            return None
        return self._unpacked(values, {}, roots)

    def salvaged(self) -> Unpacked:
        """The values that can be made, and why the others cannot."""
        roots = self._find_roots()
        loader = self._open(Salvager, roots)
        values: dict[str, Any] = {}
        failed: dict[str, str] = {}
        for segment in self._transfer.segments:
            value = loader.load_name(segment.name)
            if loader.loss is None:
                values[segment.name] = value
            else:
                failed[segment.name] = loader.loss
        return self._unpacked(values, failed, roots)

    def _unpacked(self, values: dict[str, Any], failed: dict[str, str], roots: Roots) -> Unpacked:
        written = {segment.name for segment in self._transfer.segments if segment.root in roots.written}
        return Unpacked(values, failed, frozenset(name for name in written & values.keys() if name in self._into))

    def _find_roots(self) -> Roots:
        here: dict[int, Any] = {}
        for segment in self._transfer.segments:
            if segment.root is not None and segment.name in self._into:
                here.setdefault(segment.root, self._into[segment.name])
        return Roots(here)

    def _open(self, loader: type[_AnyLoader], roots: Roots) -> _AnyLoader:
        body = self._store.get(self._transfer.body) if self._transfer.body else self._transfer.stream
        file = body if hasattr(body, "readline") else io.BytesIO(body)  # a mapped file can be read where it is
        return loader(file, self._namespace, roots, self._buffers(), restore_devices=self._restore_devices)

    def _buffers(self) -> Iterator[Any]:
        for key in self._transfer.buffers:
            buffer = self._store.get(key)
            if self._hasher is not None:
                self._hasher.remember(memoryview(buffer), bytes.fromhex(key))
            yield buffer


def _roots(values: Iterable[Any], namespace: dict[str, Any]) -> dict[int, int]:
    """Numbers, by identity, for the values that can be written into in place."""
    roots: dict[int, int] = {}
    for value in values:
        if value is not namespace and can_be_written(value):
            roots.setdefault(id(value), len(roots))
    return roots


def _rank(value: Any) -> int:
    """In which order values go: what surely arrives first, parts of large storages after what may bring these whole."""
    if is_sliver(value):
        return 2
    return 0 if _is_simple(value) else 1


def _is_simple(value: Any) -> bool:
    """Whether a value is made of the standard library's own atoms, or is an array."""
    if type(value) in CONTAINERS:
        inner = value.values() if isinstance(value, dict) else ()
        return _ATOMS.issuperset(map(type, value)) and _ATOMS.issuperset(map(type, inner))
    return type(value) in _ATOMS or can_be_written(value)


def _device(value: Any, met: set[str]) -> str | None:
    if is_plain(value):
        return None if value.device.type == "cpu" else str(value.device)
    return min(met, default=None)
