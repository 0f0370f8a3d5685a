"""Digests of buffers and pickles (xxh3, 128 bits), each buffer read once a transfer. No pickling here, no files.

xxh3 is no cryptographic hash: it tells values apart that an honest notebook makes, not ones made to collide.
"""

from __future__ import annotations

import pickle
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

CACHED_BYTES = 1 << 20
"""Buffers below this are hashed again rather than remembered: it takes 50 µs."""

CHUNK_BYTES = 32 << 20
"""How much is hashed between two looks at the clock: 2 ms (measured, 16 GB/s from memory)."""


class OutOfTime(Exception):  # noqa: N818 - it reads as what happened
    """A hasher's time was up in the middle of a value. Never leaves this floor."""


class Hasher:
    """Hashes buffers for the length of one transfer, so that `fingerprint` and then `pack` read a large array once.

    Remembered digests are right while no user code runs: make one for a transfer, then drop it. It holds on to the
    buffers it remembers, so that none of their addresses can come to mean something else.

    Args:
        seconds: time to spend in all; None: no limit. When it is up `spent` is true and fingerprints are None.
        unwritten: tells the digest of a buffer that nobody has written to since it arrived (`Store.unwritten`).
        clock: seconds that only go forward.
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
        """Owners of the buffers hashed so far, each with the digest, by the owner's identity."""
        self.arrays: dict[int, Any] = {}
        """Numpy arrays in the values hashed so far, by identity."""
        self.rules: Any = None
        """How types are pickled (`wire.pickles.reducers`), as far as the values of the transfer have asked."""

    def release(self) -> None:
        """Give the values up. A buffer that is held cannot be resized, and the frames of an error's traceback stay."""
        self._digests.clear()
        self.leaves.clear()
        self.arrays.clear()

    @property
    def spent(self) -> bool:
        """Whether the time given is up."""
        return self._until is not None and self._clock() >= self._until

    def check(self) -> None:
        """Go on only if there is time.

        Raises:
            OutOfTime: there is none.
        """
        if self.spent:
            raise OutOfTime

    def known(self, view: memoryview) -> bytes | None:
        """The digest of a buffer if that takes no reading of it."""
        if view.nbytes < CACHED_BYTES:
            return None
        found = self._digests.get((address(view), view.nbytes))
        if found is not None:
            return found[0]
        return self._unwritten(view) if self._unwritten else None

    def remember(self, view: memoryview, digest: bytes) -> None:
        """Take the digest of a buffer from who knows it: a store that has just written it, or read it."""
        if view.nbytes >= CACHED_BYTES and (where := address(view)):
            self._digests[where, view.nbytes] = digest, view

    def digest(self, view: memoryview, *, remember: bool = True) -> bytes:
        """The 16-byte digest of a contiguous buffer.

        Args:
            view: the buffer.
            remember: false for a copy made to be hashed, which should not be held.

        Raises:
            OutOfTime: the time was up.
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
    """A file for a pickler that keeps nothing of what is written but its hash."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher, self._running = hasher, new_hash()

    def write(self, part: bytes) -> int:
        """Take one part of the stream.

        Raises:
            OutOfTime: the hasher's time was up.
        """
        self._hasher.check()
        self._running.update(part)
        return len(part)

    def digest(self, *more: bytes) -> bytes:
        """The 16-byte digest of all that was written, then `more`."""
        for part in more:
            self._running.update(part)
        return bytes(self._running.digest())


def digest_of_atom(value: Any) -> bytes:
    """The digest of a number, a string, bytes, True, False or None: of the type and the value."""
    running = new_hash()
    running.update(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    return bytes(running.digest())


def new_hash() -> Any:
    """A running xxh3-128: `update(bytes)`, `digest()`, `hexdigest()`. Loaded when first needed."""
    import xxhash

    return xxhash.xxh3_128()


def address(view: memoryview) -> int:
    """Where a buffer lies in memory; 0 if that cannot be told without a copy."""
    if not view.nbytes:
        return 0
    if not view.readonly:
        import ctypes

        return ctypes.addressof(ctypes.c_char.from_buffer(view))
    numpy = sys.modules.get("numpy")  # ctypes takes writable buffers only
    if numpy is None:
        return id(view.obj) if isinstance(view.obj, bytes) else 0
    return int(numpy.frombuffer(view, numpy.uint8).ctypes.data)
