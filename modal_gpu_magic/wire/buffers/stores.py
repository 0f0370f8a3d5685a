"""Stores for the large buffers of a transfer: files that both sides can read, or the message itself.

A key is the buffer's xxh3-128 as 32 hex digits, so a buffer that the store has is not written again. No pickling.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from modal_gpu_magic.errors import DamagedError, NoRoomError, TransferError
from modal_gpu_magic.wire.buffers.hashing import new_hash
from modal_gpu_magic.wire.buffers.pagemap import Mappings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

CHUNK_BYTES = 4 << 20
"""Bytes hashed and then written at a time: small enough to be in the CPU's cache for the write."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The numbers of errors of a full file system, or of a limit of this process."""

Wrote: TypeAlias = "Callable[[int], object]"

STALE_SECONDS = 600.0
"""An unfinished file of this age in seconds belongs to a process that died while writing."""


REMOVALS = 5
"""Attempts to remove a directory: a write that had found the directory before its new name may add a file."""
MAPPINGS = Mappings()
"""The mappings of this process, of all stores."""


class Store(Protocol):
    """Stores buffers by content. Each side of a transfer has a store; both use the same keys."""

    in_message: bool
    """Whether all that is put travels in the message."""

    @property
    def inline(self) -> dict[str, bytes]:
        """The buffers that the message must contain, by key."""

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:
        """Store a buffer and return its key.

        Args:
            view: the buffer.
            key: the key, if the caller knows it.
            keep: keys of buffers that must not be removed to free space.
        """

    def get(self, key: str) -> Any:
        """Return a private writable buffer with the content of a key.

        Raises:
            TransferError: the store does not have the key.
        """

    def size(self, key: str) -> int:
        """Return the number of bytes of a buffer, without a look at its content.

        Raises:
            TransferError: the store does not have the key.
        """

    def has(self, key: str) -> bool:
        """Whether the store has a key."""

    def unwritten(self, view: memoryview) -> bytes | None:
        """Return the digest of a buffer from `get` if nothing was written to the buffer since; None: unknown."""


class InlineStore:
    """Buffers inside the message, for the cloud. One store for each transfer.

    Args:
        inline: the buffers of the received message; None on the sender's side.
    """

    in_message = True

    def __init__(self, inline: dict[str, bytes] | None = None) -> None:
        self.inline: dict[str, bytes] = {} if inline is None else inline

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:  # noqa: ARG002 - Store's
        """Store a copy of a buffer, the only copy, and return its key. A `bytes` object is not copied."""
        if key is None:
            running = new_hash()
            running.update(view)
            key = str(running.hexdigest())
        if key not in self.inline:
            self.inline[key] = _as_bytes(view)
        return key

    def get(self, key: str) -> bytearray:
        """Return a copy, because two arrays of equal content share a key but not their memory.

        Raises:
            TransferError: the message does not contain the key.
            DamagedError: the buffer has another content than its key says.
        """
        self.size(key)
        content = bytearray(self.inline[key])
        running = new_hash()
        running.update(content)
        if running.hexdigest() != key:
            raise _damaged(key)
        return content

    def size(self, key: str) -> int:
        """Return the number of bytes of a buffer.

        Raises:
            TransferError: the message does not contain the key.
            DamagedError: this is no key, or no buffer.
        """
        content = self.inline.get(_checked(key))
        if content is None:
            raise _missing(key)
        if not isinstance(content, bytes | bytearray | memoryview):
            raise _damaged(key)
        return len(content)

    def has(self, key: str) -> bool:
        """Whether the message contains a key."""
        return key in self.inline

    def unwritten(self, view: memoryview) -> None:
        """Return None: writes to ordinary memory are not recorded."""


class SharedStore:
    """Buffers as files in a directory that kernel and container share. Several processes may use the directory.

    A file with its final name is complete and never changes. The least recently used files are removed to free space;
    existing mappings of a removed file stay valid. The kernel removes the files that have been received (`clear`).

    Args:
        directory: the directory, best on a file system in memory; created for this user only if missing.
        limit_bytes: total size of the files in bytes; None: half of the file system. One transfer may exceed this.
    """

    in_message = False

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int | None = None) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.limit_bytes = _half_of_the_disk(self.directory) if limit_bytes is None else limit_bytes
        self.wrote: Wrote = lambda _: None
        """Callback after each written chunk, with its number of bytes; an exception ends the transfer."""
        self._room = 0

    @property
    def inline(self) -> dict[str, bytes]:
        """Empty: the message contains no buffers."""
        return {}

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:
        """Write a buffer into a file without a copy in memory, and return its key.

        Raises:
            NoRoomError: the file system is full, or takes no file for another reason: the kernel on the other side has
                ended, and its directory is removed.
        """
        if key is not None and self._touch(key):
            return key
        self._make_room(view.nbytes, keep)
        part = self.directory / f".{os.getpid()}-{uuid.uuid4().hex}"
        try:
            key = write_file(part, view, key, self.wrote)
            part.rename(self.directory / key)
        except OSError as error:
            what = "has no room for" if error.errno in NO_ROOM else "does not take"
            raise NoRoomError(
                f"{_file_system(self.directory)} {what} {view.nbytes / 1e6:,.1f} MB ({error.strerror})"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return key

    def get(self, key: str) -> mmap.mmap:
        """Return a private mapping: a page is shared with the file until the process writes to the page.

        Raises:
            TransferError: the file does not exist, or was removed to free space.
            DamagedError: the file is empty.
        """
        try:
            fd = os.open(self.directory / _checked(key), os.O_RDONLY | os.O_CLOEXEC)
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

    def size(self, key: str) -> int:
        """Return the number of bytes of a file.

        Raises:
            TransferError: the file does not exist, or was removed to free space.
            DamagedError: this is no key.
        """
        try:
            return (self.directory / _checked(key)).lstat().st_size
        except FileNotFoundError:
            raise _missing(key) from None

    def has(self, key: str) -> bool:
        """Whether the file exists; an existing file is marked as used now."""
        return self._touch(key)

    def unwritten(self, view: memoryview) -> bytes | None:
        """Return the digest of a buffer from `get` if nothing was written to the buffer since; None: unknown."""
        return MAPPINGS.unwritten(view)

    def mark(self, run: str) -> bool:
        """Note for the process on the other side that a run has begun; return whether the note was written."""
        try:
            (self.directory / f".begun-{run}").touch(mode=0o600)
        except OSError:
            return False
        return True

    def is_marked(self, run: str) -> bool:
        """Whether the other side has noted that a run has begun, and the files were not cleared since."""
        return (self.directory / f".begun-{run}").exists()

    def clear(self) -> None:
        """Remove all files, unfinished ones too: no transfer is under way. Existing mappings stay valid."""
        for _, _, name in list(self._files()):
            (self.directory / name).unlink(missing_ok=True)
        self._room = 0

    def remove(self) -> None:
        """Remove the directory with all files. A container that still writes finds no directory."""
        gone = self.directory.with_name(f".{self.directory.name}")
        with contextlib.suppress(OSError):
            self.directory.rename(gone)  # first: a file that appears during the removal would keep the directory
        for _ in range(REMOVALS):
            shutil.rmtree(gone, ignore_errors=True)
            if not gone.exists():
                return

    def _touch(self, key: str) -> bool:
        try:
            os.utime(self.directory / key)
        except OSError:
            return False
        return True

    def _make_room(self, nbytes: int, keep: Collection[str]) -> None:
        """Remove the least recently used files until `nbytes` fit.

        The directory is scanned again after half of the free space is used, because other processes write as well.
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
            with contextlib.suppress(OSError):
                (self.directory / name).unlink(missing_ok=True)
            total -= size
        self._room = max(0, self.limit_bytes - total - nbytes) // 2

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """Yield the files: time of last use (seconds since the epoch), size (bytes), name."""
        with contextlib.suppress(OSError), os.scandir(self.directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    yield facts.st_mtime, facts.st_size, entry.name


def _as_bytes(view: memoryview) -> bytes:
    """The content of a buffer: its owner, if that is a bytes object and the buffer is all of it."""
    owner = view.obj
    return owner if type(owner) is bytes and len(owner) == view.nbytes else bytes(view)


def write_file(path: Path, view: memoryview, key: str | None, wrote: Wrote) -> str:
    """Write a new file and return the key; compute the key while writing if `key` is None."""
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
    return key if running is None else str(running.hexdigest())  # type: ignore[return-value]  # one of the two is set


def _write_all(fd: int, view: memoryview) -> None:
    while view.nbytes:
        view = view[os.write(fd, view) :]


def _half_of_the_disk(directory: Path) -> int:
    facts = os.statvfs(directory)
    return facts.f_blocks * facts.f_frsize // 2


def _file_system(directory: Path) -> Path:
    """Return the mount point of a directory, which a user knows: `/dev/shm`."""
    return next((each for each in (directory, *directory.parents) if each.is_mount()), directory)


_KEY = re.compile(r"[0-9a-f]{32}")


def _checked(key: object) -> str:
    """Return a key; raise DamagedError for what is no key, such as a path that leaves the directory."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _damaged(repr(key))
    return key


def _missing(key: str) -> TransferError:
    return TransferError(f"run the cell again to send its values again: buffer {key[:8]}… of this transfer is missing")


def _damaged(key: str) -> DamagedError:
    return DamagedError(f"buffer {key[:8]}… of this transfer was damaged in transit; run the cell again.")
