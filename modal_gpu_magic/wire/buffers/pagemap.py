"""Find out from the page table whether a private file mapping was written to, without reading the mapping.

Linux has a 64-bit entry for each page in /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst): bit 63 present,
62 swapped, 61 page of a file. After a write, a page of a private mapping belongs to the process and no longer to the
file. Without a page map (macOS, gVisor) the result is unknown, and the caller reads the bytes.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref

from modal_gpu_magic.wire.buffers.hashing import address

_ENTRY_BYTES = 8
_IN_USE = 0b1100_0000
"""Bits 63 and 62, in the top byte of an entry."""
_OF_A_FILE = 0b0010_0000


class Mappings:
    """The existing private mappings, with the digests of the mapped files."""

    def __init__(self) -> None:
        self._alive: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()
        self._digests: dict[int, bytes] = {}

    def add(self, mapped: mmap.mmap, digest: bytes) -> None:
        """Register a new mapping and the digest of its file."""
        if len(self._digests) > 2 * len(self._alive) + 64:
            self._digests = {start: self._digests[start] for start in self._alive}
        with memoryview(mapped) as view:
            start = address(view)
        self._alive[start], self._digests[start] = mapped, digest

    def unwritten(self, view: memoryview) -> bytes | None:
        """Return the digest of a whole mapping that was never written to; None: it was, or this is unknown."""
        start = address(view)
        mapped = self._alive.get(start)
        if mapped is None or len(mapped) != view.nbytes or not _all_pages_of_the_file(start, view.nbytes):
            return None
        return self._digests[start]


def _all_pages_of_the_file(start: int, nbytes: int) -> bool:
    pages = -(-nbytes // mmap.PAGESIZE)
    if sys.byteorder != "little":  # the code expects the top byte at the end of an entry
        return False
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        entries = os.pread(fd, pages * _ENTRY_BYTES, start // mmap.PAGESIZE * _ENTRY_BYTES)
    finally:
        os.close(fd)
    if len(entries) != pages * _ENTRY_BYTES:
        return False
    return not any(top & _IN_USE and not top & _OF_A_FILE for top in set(entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES]))
