"""Pickles with their digest behind them, so that a damaged one is known before anything is unpickled.

A damaged pickle may raise any error, or ask for memory without end. The digest finds accidents; it is no protection
from somebody who makes pickles (SECURITY.md). `pickle.loads` reads a sealed pickle as well: it ignores what follows.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.buffers.hashing import new_hash

if TYPE_CHECKING:
    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.messages.events import Transfer

SEAL_BYTES = 16
PROTOCOL = 5


def sealed(value: Any) -> bytes:
    """A value's pickle, and its digest."""
    return seal(pickle.dumps(value, PROTOCOL))


def seal(blob: bytes) -> bytes:
    """A pickle, and its digest."""
    return blob + digest(blob)


def opened(blob: bytes) -> Any:
    """The value of a sealed pickle.

    Raises:
        DamagedError: it is not what `sealed` made.
    """
    content = memoryview(blob)[:-SEAL_BYTES]
    if digest(content) != blob[-SEAL_BYTES:]:
        raise DamagedError(f"a message of {len(blob)} bytes was damaged on its way; run the cell again.")
    return pickle.loads(content)


def digest(*parts: bytes | memoryview) -> bytes:
    """The digest of parts that follow one another."""
    running = new_hash()
    for part in parts:
        running.update(part)
    return bytes(running.digest())


def digest_of(transfer: Transfer) -> bytes:
    """What `Transfer.digest` is to be."""
    facts = (transfer.body, transfer.segments, transfer.buffers, transfer.base)
    return digest(repr(facts).encode("utf-8", "backslashreplace"), transfer.stream)


def check(transfer: Transfer, store: Store) -> None:
    """Refuse a transfer whose stream is not the one that was sent.

    Raises:
        DamagedError: it is not. TransferError: the stream is not in the store.
    """
    if not (transfer.stream or transfer.body or transfer.segments):
        return
    damaged = type(transfer.stream) is not bytes or digest_of(transfer) != transfer.digest
    if damaged or (transfer.body and digest(memoryview(store.get(transfer.body))).hex() != transfer.body):
        raise DamagedError("the values were damaged on their way; run the cell again.")
