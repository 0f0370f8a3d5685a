"""Pickles with their digest behind them, so that a damaged one is known before anything is unpickled.

A damaged pickle may raise any error, or ask for memory without end. The digest finds accidents; it is no protection
from somebody who makes pickles (SECURITY.md). `pickle.loads` reads a sealed pickle as well: it ignores what follows.
"""

from __future__ import annotations

import functools
import pickle
import struct
from pickle import dumps, loads
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.buffers.hashing import new_hash
from modal_gpu_magic.wire.messages.compact import PROTOCOL
from modal_gpu_magic.wire.messages.shapes import checked

if TYPE_CHECKING:
    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.messages.events import Transfer

SEAL_BYTES = 16
_BYTES = (bytes, bytearray, memoryview)
_NO_PICKLE = (pickle.UnpicklingError, EOFError, IndexError, MemoryError, struct.error)
"""What `pickle.loads` raises for bytes that are no pickle. A class that cannot be loaded raises another error."""


def sealed(value: Any) -> bytes:
    """A value's pickle, and its digest."""
    return seal(dumps(value, PROTOCOL))


def seal(blob: bytes) -> bytes:
    """A pickle, and its digest."""
    return blob + digest(blob)


def opened(blob: bytes) -> Any:
    """The value of a sealed pickle.

    Raises:
        DamagedError: it is not what `sealed` made.
    """
    if not isinstance(blob, _BYTES):
        raise DamagedError("a message was damaged in transit: its content is no bytes; run the cell again.")
    content = memoryview(blob)[:-SEAL_BYTES]
    try:
        if digest(content) == blob[-SEAL_BYTES:]:
            return loads(content)
    except _NO_PICKLE:  # sealed, and no pickle
        pass
    raise DamagedError(f"a message of {len(blob)} bytes was damaged in transit; run the cell again.")


def digest(*parts: bytes | memoryview) -> bytes:
    """The digest of parts that follow one another."""
    running = new_hash()
    for part in parts:
        running.update(part)
    return bytes(running.digest())


def digest_of(transfer: Transfer) -> bytes:
    """What `Transfer.digest` is to be."""
    facts = (transfer.body, transfer.segments, transfer.buffers, transfer.base, transfer.nbytes, transfer.modules)
    return digest(repr(facts).encode("utf-8", "backslashreplace"), transfer.stream)


def check(transfer: Transfer, store: Store) -> None:
    """Refuse a transfer whose fields, stream or lengths are not those that were sent.

    Raises:
        DamagedError: they are not. TransferError: the stream or a buffer is not in the store.
    """
    checked(transfer, _transfer_class())
    if not (transfer.stream or transfer.body or transfer.segments):
        return
    damaged = digest_of(transfer) != transfer.digest
    if transfer.body and not damaged:
        damaged = digest(memoryview(store.get(transfer.body))).hex() != transfer.body
    if damaged or len(transfer.stream) + sum(map(store.size, set(transfer.buffers))) != transfer.nbytes:
        raise DamagedError("the values were damaged in transit; run the cell again.")


@functools.cache
def _transfer_class() -> type[Transfer]:
    """Return `Transfer`, whose module takes a while to import."""
    from modal_gpu_magic.wire.messages.events import Transfer

    return Transfer
