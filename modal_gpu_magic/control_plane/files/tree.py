"""Files of a volume from outside containers: paths and links cannot escape the volume. All functions block.

Paths are the SDK's: relative to the volume, with or without a leading slash.
"""

from __future__ import annotations

import itertools
import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.fields import inner_path, shown
from modal_gpu_magic.control_plane.refusals import Exists, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KINDS = (
    (stat.S_ISLNK, api_pb2.FileEntry.SYMLINK),
    (stat.S_ISDIR, api_pb2.FileEntry.DIRECTORY),
    (stat.S_ISFIFO, api_pb2.FileEntry.FIFO),
    (stat.S_ISSOCK, api_pb2.FileEntry.SOCKET),
)


def within(volume: Path, path: str) -> Path:
    """Return the path on disk; raise Invalid if it escapes the volume."""
    if ".." in PurePosixPath(path).parts:
        raise Invalid(f"{shown(path)} is outside the volume.")
    parts = inner_path(path, "The path").parts
    where = volume.joinpath(*parts)
    if not where.parent.resolve().is_relative_to(volume.resolve() if parts else volume.parent.resolve()):
        raise Invalid(f"{path!r} is outside the volume.")
    return where


def make_private_directories(path: Path) -> None:
    """Create a directory and its missing parents for this user alone."""
    if not path.is_dir():
        make_private_directories(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def present(volume: Path, path: str) -> Path:
    """Return the path of an existing file, directory or link; raise NotFound."""
    where = within(volume, path)
    if not where.exists() and not where.is_symlink():
        raise NotFound(f"No such file or directory in the volume: {path!r}.")
    return where


def readable(volume: Path, path: str) -> Path:
    """Return the path of an existing file, through links inside the volume; raise NotFound or Invalid."""
    where = present(volume, path).resolve()
    if not where.is_relative_to(volume.resolve()):
        raise Invalid(f"{path!r} is a link to a path outside the volume.")
    if where.is_dir():
        raise Invalid(f"{path!r} is a directory; read its files one by one.")
    if not where.is_file():
        raise NotFound(f"{path!r} is not a file.")
    return where


def writable(volume: Path, path: str, *, overwrite: bool) -> Path:
    """Return the path for a new file; raise Exists for a directory, or a file that must not be overwritten."""
    where = within(volume, path)
    if where.is_dir():
        raise Exists(f"{path!r} is a directory in the volume.")
    if where.exists() and not overwrite:
        raise Exists(f"{path!r} exists in the volume; overwrite it with force.")
    parent = next((each for each in where.parents if each.exists()), volume)
    if not parent.is_dir():
        raise Exists(f"Cannot write {path!r}: {parent.relative_to(volume)} is a file.")
    return where


def entries(volume: Path, path: str, *, recursive: bool, most: int = 0) -> list[api_pb2.FileEntry]:
    """List a directory by name, or one file; `most` 0 means no limit."""
    top = present(volume, path)
    found = _below(top, recursive=recursive) if top.is_dir() and not top.is_symlink() else iter([top])
    return [_entry(each, volume) for each in itertools.islice(found, most or None)]


def _below(directory: Path, *, recursive: bool) -> Iterator[Path]:
    """Yield all entries of a directory, without following links."""
    for each in sorted(directory.iterdir()):
        yield each
        if recursive and each.is_dir() and not each.is_symlink():
            yield from _below(each, recursive=True)


def _entry(path: Path, volume: Path) -> api_pb2.FileEntry:
    found = path.lstat()
    kind = next((kind for holds, kind in _KINDS if holds(found.st_mode)), api_pb2.FileEntry.FILE)
    size = found.st_size if kind == api_pb2.FileEntry.FILE else 0
    return api_pb2.FileEntry(path=path.relative_to(volume).as_posix(), type=kind, mtime=int(found.st_mtime), size=size)


def remove(volume: Path, path: str, *, recursive: bool) -> None:
    """Remove a file or, with `recursive`, a directory; of the volume itself, its entries."""
    where = present(volume, path)
    if where.is_symlink() or not where.is_dir():
        where.unlink()
    elif not recursive:
        raise Invalid(f"{path!r} is a directory; remove it with recursive=True.")
    else:
        for each in where.iterdir() if where == volume else (where,):
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


def copy(volume: Path, sources: Sequence[str], target: str, *, recursive: bool) -> None:
    """Copy as `cp` does: into a directory, or one file to a new name."""
    where = within(volume, target)
    if not where.resolve().is_relative_to(volume.resolve()):
        raise Invalid(f"{target!r} is a link to a path outside the volume.")
    into = where.is_dir()
    if not into and (len(sources) != 1 or target.endswith("/")):
        raise NotFound(f"{target!r} is not a directory in the volume.")
    for source in sources:
        origin = present(volume, source)
        to = where / origin.name if into else where
        if origin.is_dir() and not recursive:
            raise Invalid(f"{source!r} is a directory; copy it with recursive=True.")
        if to == origin or to.is_relative_to(origin):
            raise Invalid(f"{source!r} cannot be copied into itself.")
        to.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, to, symlinks=True, dirs_exist_ok=True)
        else:
            to.unlink(missing_ok=True)  # replace an existing link instead of following it
            shutil.copy2(readable(volume, source), to)
