"""Digests of buffers and pickles (xxh3, 128 bits); each buffer is read once per transfer. No pickling, no files.

xxh3 is no cryptographic hash: it is safe against accidental collisions only.
"""

from __future__ import annotations

import pickle
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CACHED_BYTES = 1 << 20
"""Digests of smaller buffers are not cached, because hashing again takes 50 µs at most."""

CHUNK_BYTES = 32 << 20
"""Bytes hashed between two checks of the clock: 2 ms (measured, 16 GB/s from memory)."""


class OutOfTime(Exception):  # noqa: N818 - the name says which event ended the hashing
    """The time limit of a hasher was reached inside a value. Callers in `wire` catch this exception."""


class Hasher:
    """Hashes buffers and caches the digests for one transfer, so that `fingerprint` and `pack` read an array once.

    Cached digests are valid while no user code runs: create one hasher per transfer. The hasher refers to the cached
    buffers, so that no address is reused.

    Args:
        seconds: time limit in seconds for all buffers; None: no limit. After the limit `spent` is true, and
            fingerprints are None.
        unwritten: returns the digest of a received buffer that was not written to since (`Store.unwritten`).
        clock: monotonic clock, seconds.
    """

    def __init__(
        self,
        seconds: float | None = None,
        unwritten: Callable[[memoryview], bytes | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._unwritten = clock, unwritten
        self._until = None if seconds is None else clock() + seconds
        self._digests: dict[tuple[int, int], tuple[bytes, memoryview]] = {}
        self.leaves: dict[int, tuple[Any, bytes]] = {}
        """Owners of the buffers hashed so far, each with the digest, by `id` of the owner."""
        self.arrays: dict[int, Any] = {}
        """Numpy arrays in the values hashed so far, by `id`."""
        self.storages: dict[int, Any] = {}
        """Torch storages in them, likewise."""
        self.shared_arrays: dict[int, list[Any]] | None = None
        """Numpy arrays that both sides have, in groups of one memory; None: not searched yet."""
        self.shared_memory: Any = None
        """The memory of the arrays and the torch storages that both sides have; None: not searched yet."""
        self.rules: Any = None
        """Reducers by type (`wire.pickles.reducers`), found so far; None: no value was pickled yet."""
        self.facts: dict[int, Any] = {}
        """Facts of variables of the user's modules (`wire.inspection.own_modules`), by `id` of the value."""
        self.modules: set[str] = set()
        """Modules of the functions and classes in the values hashed so far."""

    def release(self) -> None:
        """Give the values up. A buffer that is held cannot be resized, and the frames of an error's traceback stay."""
        self._digests.clear()
        self.leaves.clear()
        self.arrays.clear()
        self.storages.clear()
        self.facts.clear()
        self.shared_arrays = self.shared_memory = None

    @property
    def spent(self) -> bool:
        """Whether the time limit is reached."""
        return self._until is not None and self._clock() >= self._until

    def check(self) -> None:
        """Check the time limit.

        Raises:
            OutOfTime: the time limit is reached.
        """
        if self.spent:
            raise OutOfTime

    def known(self, view: memoryview) -> bytes | None:
        """Return the digest of a buffer if it is known without reading the buffer, else None."""
        if view.nbytes < CACHED_BYTES:
            return None
        found = self._digests.get((address(view), view.nbytes))
        if found is not None:
            return found[0]
        return self._unwritten(view) if self._unwritten else None

    def remember(self, view: memoryview, digest: bytes) -> None:
        """Cache the digest of a buffer that a store has just written or read."""
        if view.nbytes >= CACHED_BYTES and (start := address(view)):
            self._digests[start, view.nbytes] = digest, view

    def digest(self, view: memoryview, *, remember: bool = True) -> bytes:
        """Return the 16-byte digest of a contiguous buffer.

        Args:
            view: the buffer.
            remember: cache the digest; false for a temporary copy, which the hasher should not keep alive.

        Raises:
            OutOfTime: the time limit is reached.
        """
        digest = self.known(view)
        if digest is None:
            running = new_hash()
            for start in range(0, view.nbytes, CHUNK_BYTES):
                self.check()
                running.update(view[start : start + CHUNK_BYTES])
            digest = bytes(running.digest())
            if remember:
                self.remember(view, digest)
        return digest


class HashingFile:
    """A file for a pickler that hashes the written bytes and stores nothing."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher, self._running = hasher, new_hash()

    def write(self, part: bytes) -> int:
        """Hash one part of the stream.

        Raises:
            OutOfTime: the time limit is reached.
        """
        self._hasher.check()
        self._running.update(part)
        return len(part)

    def digest(self, *more: bytes) -> bytes:
        """Return the 16-byte digest of all written bytes, followed by `more`."""
        for part in more:
            self._running.update(part)
        return bytes(self._running.digest())


def digest_of_atom(value: Any) -> bytes:
    """Return the digest of type and value of a number, a string, bytes, True, False or None, or of a tuple of them."""
    running = new_hash()
    running.update(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    return bytes(running.digest())


def new_hash() -> Any:
    """Return a running xxh3-128: `update(bytes)`, `digest()`, `hexdigest()`. Imports xxhash on first use."""
    import xxhash

    return xxhash.xxh3_128()


def address(view: memoryview) -> int:
    """Return the address of a buffer in memory; 0 if the address cannot be found without a copy."""
    if not view.nbytes:
        return 0
    if not view.readonly:
        import ctypes

        return ctypes.addressof(ctypes.c_char.from_buffer(view))
    numpy = sys.modules.get("numpy")  # ctypes takes writable buffers only
    if numpy is None:
        return id(view.obj) if isinstance(view.obj, bytes) else 0
    return int(numpy.frombuffer(view, numpy.uint8).ctypes.data)
