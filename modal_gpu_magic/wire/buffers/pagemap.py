"""Whether a private mapping of a file was written to, told from the page table instead of by reading gigabytes.

Linux keeps a 64-bit entry a page in /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst): bit 63 present,
62 swapped, 61 page of a file. A private mapping's page that was written to is the process's own and no longer the
file's. Where there is no page map (macOS, gVisor) nothing is known, and who asks reads the bytes.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref

from modal_gpu_magic.wire.buffers.hashing import address

_ENTRY_BYTES = 8
_IN_USE = 0b1100_0000
"""Bits 63 and 62 in an entry's top byte."""
_OF_A_FILE = 0b0010_0000


class Mappings:
    """The private mappings that are alive, with the digests of the files they map."""

    def __init__(self) -> None:
        self._alive: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()
        self._digests: dict[int, bytes] = {}

    def add(self, mapped: mmap.mmap, digest: bytes) -> None:
        """Take note of a mapping just made, and of the digest of the file it maps."""
        if len(self._digests) > 2 * len(self._alive) + 64:
            self._digests = {where: self._digests[where] for where in self._alive}
        with memoryview(mapped) as view:
            where = address(view)
        self._alive[where], self._digests[where] = mapped, digest

    def unwritten(self, view: memoryview) -> bytes | None:
        """The digest of a view of a whole mapping that was never written to; None: it was, or cannot be told."""
        where = address(view)
        mapped = self._alive.get(where)
        if mapped is None or len(mapped) != view.nbytes or not _all_pages_of_the_file(where, view.nbytes):
            return None
        return self._digests[where]


def _all_pages_of_the_file(where: int, nbytes: int) -> bool:
    pages = -(-nbytes // mmap.PAGESIZE)
    if sys.byteorder != "little":  # the top byte is looked for at an entry's end
        return False
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        entries = os.pread(fd, pages * _ENTRY_BYTES, where // mmap.PAGESIZE * _ENTRY_BYTES)
    finally:
        os.close(fd)
    if len(entries) != pages * _ENTRY_BYTES:
        return False
    return not any(top & _IN_USE and not top & _OF_A_FILE for top in set(entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES]))
