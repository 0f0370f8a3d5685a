"""Where the large buffers of a transfer are put, by content: files both sides see, or the message itself.

A key is the buffer's xxh3-128 as 32 hex digits, so what is there already is not written again. No pickling here.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from modal_gpu_magic.errors import DamagedError, TransferError
from modal_gpu_magic.wire.buffers.hashing import new_hash
from modal_gpu_magic.wire.buffers.pagemap import Mappings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

CHUNK_BYTES = 4 << 20
"""How much is hashed and then written at a time: what the hash has read is still in the cache for the write."""

Wrote: TypeAlias = "Callable[[int], object]"

STALE_SECONDS = 600.0
"""An unfinished file of this age belongs to a process that died in the middle of it."""


MAPPINGS = Mappings()
"""What this process has mapped, by whatever store."""


class Store(Protocol):
    """Keeps buffers by content. Both sides of a transfer have one; they agree on the keys."""

    in_message: bool
    """Whether all that is put travels in the message."""

    @property
    def inline(self) -> dict[str, bytes]:
        """The buffers that must travel in the message itself."""

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:
        """Keep a buffer and return its key. `key`: if it is known already. `keep`: keys that must not make room."""

    def get(self, key: str) -> Any:
        """A writable buffer of one's own with that content, seen by nobody else.

        Raises:
            TransferError: there is none.
        """

    def has(self, key: str) -> bool:
        """Whether `get` would find it."""

    def unwritten(self, view: memoryview) -> bytes | None:
        """The digest of a buffer from `get` that nobody has written to since, without reading it; None: not known."""


class InlineStore:
    """Buffers that travel in the message, as to the cloud. One for each transfer.

    Args:
        inline: what came with the message; empty on the sending side.
    """

    in_message = True

    def __init__(self, inline: dict[str, bytes] | None = None) -> None:
        self.inline: dict[str, bytes] = {} if inline is None else inline

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:  # noqa: ARG002 - Store's
        """Keep a copy, the only one that is made here, and return its key. What is `bytes` already is not copied."""
        if key is None:
            running = new_hash()
            running.update(view)
            key = str(running.hexdigest())
        if key not in self.inline:
            self.inline[key] = _as_bytes(view)
        return key

    def get(self, key: str) -> bytearray:
        """A copy: two arrays of one content share a key, but not their bytes.

        Raises:
            TransferError: the message did not bring it. DamagedError: what it brought has another content.
        """
        if key not in self.inline:
            raise _missing(key)
        content = bytearray(self.inline[key])
        running = new_hash()
        running.update(content)
        if running.hexdigest() != key:
            raise _damaged(key)
        return content

    def has(self, key: str) -> bool:
        """Whether the message brought it."""
        return key in self.inline

    def unwritten(self, view: memoryview) -> None:
        """Not known: a copy in ordinary memory keeps no account of writes."""


class SharedStore:
    """Buffers as files of a directory that kernel and container both see. Any number of processes may share it.

    A file is complete once it has its name, and is never changed. The oldest used make room for new ones; who has
    mapped a file keeps what it mapped. The directory's owner removes it.

    Args:
        directory: best on a file system in memory; made if missing, for this user only.
        limit_bytes: how much to keep in all; None: half of the file system. One transfer may exceed it.
    """

    in_message = False

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int | None = None) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.limit_bytes = _half_of_the_disk(self.directory) if limit_bytes is None else limit_bytes
        self.wrote: Wrote = lambda _: None
        """Called with the number of bytes after each piece that is written; what it raises ends the transfer."""
        self._room = 0

    @property
    def inline(self) -> dict[str, bytes]:
        """Nothing travels in the message."""
        return {}

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:
        """Keep a buffer: one write from where it lies, no copy. Returns its key."""
        if key is not None and self._touch(key):
            return key
        self._make_room(view.nbytes, keep)
        part = self.directory / f".{os.getpid()}-{uuid.uuid4().hex}"
        try:
            key = _write(part, view, key, self.wrote)
            part.rename(self.directory / key)
        finally:
            part.unlink(missing_ok=True)
        return key

    def get(self, key: str) -> mmap.mmap:
        """A private mapping: pages are shared until they are written to, then they are the process's own.

        Raises:
            TransferError: it has made room for others, or was never here. DamagedError: somebody has emptied it.
        """
        try:
            fd = os.open(self.directory / key, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _missing(key) from None
        try:
            mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
        except ValueError:
            raise _damaged(key) from None
        finally:
            os.close(fd)
        self._touch(key)
        MAPPINGS.add(mapped, bytes.fromhex(key))
        return mapped

    def has(self, key: str) -> bool:
        """Whether it is here; if so, it counts as used now."""
        return self._touch(key)

    def unwritten(self, view: memoryview) -> bytes | None:
        """The digest of a buffer from `get` that nobody has written to since, without reading it; None: not known."""
        return MAPPINGS.unwritten(view)

    def _touch(self, key: str) -> bool:
        try:
            os.utime(self.directory / key)
        except FileNotFoundError:
            return False
        return True

    def _make_room(self, nbytes: int, keep: Collection[str]) -> None:
        """Let the oldest files go until `nbytes` fit.

        The directory is read again when half of the room last seen is used: another process may have used the rest.
        """
        if nbytes <= self._room:
            self._room -= nbytes
            return
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for used_at, size, name in files:
            if total + nbytes <= self.limit_bytes:
                break
            if name in keep or (name.startswith(".") and used_at > time.time() - STALE_SECONDS):
                continue
            (self.directory / name).unlink(missing_ok=True)
            total -= size
        self._room = max(0, self.limit_bytes - total - nbytes) // 2

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """When each was last used, how large it is, its name."""
        with os.scandir(self.directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    yield facts.st_mtime, facts.st_size, entry.name


def _as_bytes(view: memoryview) -> bytes:
    """The content of a buffer: its owner, if that is a bytes object and the buffer is all of it."""
    owner = view.obj
    return owner if type(owner) is bytes and len(owner) == view.nbytes else bytes(view)


def _write(path: Path, view: memoryview, key: str | None, wrote: Wrote) -> str:
    """Write a new file; returns the key, found on the way if it is not known."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    running = new_hash() if key is None else None
    try:
        for start in range(0, view.nbytes, CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            if running is not None:
                running.update(chunk)
            _write_all(fd, chunk)
            wrote(chunk.nbytes)
    finally:
        os.close(fd)
    return key if running is None else str(running.hexdigest())  # type: ignore[return-value]  # one of the two is there


def _write_all(fd: int, view: memoryview) -> None:
    while view.nbytes:
        view = view[os.write(fd, view) :]


def _half_of_the_disk(directory: Path) -> int:
    facts = os.statvfs(directory)
    return facts.f_blocks * facts.f_frsize // 2


def _missing(key: str) -> TransferError:
    return TransferError(f"buffer {key[:8]}… of this transfer is gone; run the cell again to send it anew")


def _damaged(key: str) -> DamagedError:
    return DamagedError(f"buffer {key[:8]}… of this transfer was damaged on its way; run the cell again.")
