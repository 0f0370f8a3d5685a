"""Find the files that a cell wrote in the container's working directory, list files and read them."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.messages.events import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_ENTRIES = 5_000
"""Most entries of the working directory checked after a cell; the check takes about 6 ms."""
MOST_SECONDS = 0.05
"""Most seconds of one check."""
REPORTED_FILES = 20
"""Most files reported to the notebook."""
COARSE_SECONDS = 0.02
"""Seconds that a file system's clock may lag: the operating system advances it once per tick."""
_CACHES = frozenset({"__pycache__", "node_modules", "modal_gpu_magic"})
"""Directories left out of listings: caches, and this package. Hidden directories are left out as well."""

Stamp = tuple[int, int]


class Watch:
    """Finds the files below a directory that a cell created or changed. A very large directory is checked in part.

    Args:
        root: the directory.
        most: most entries to check.
    """

    def __init__(self, root: Path, most: int = MOST_ENTRIES) -> None:
        self.root, self._most = root, most
        self._seen = dict(_stamps(root, most))
        self._changed: set[str] = set()

    def note(self, paths: Iterable[str]) -> None:
        """Record files that the notebook sent: no cell wrote them."""
        for path in paths:
            name = os.path.normpath(path)
            if (self.root / name).is_file():
                self._seen[name] = _stamp((self.root / name).stat())

    def take_changed(self) -> set[str]:
        """Return all files that `written` has found since the last call; it reports the largest alone."""
        changed, self._changed = self._changed, set()
        return changed

    def written(self, since: float) -> tuple[tuple[str, int], ...]:
        """Return path and bytes of files created or changed after `since` (Unix seconds), largest first."""
        earliest = int((since - COARSE_SECONDS) * 1e9)
        now = dict(_stamps(self.root, self._most))
        new = [(path, s[1]) for path, s in now.items() if s[0] >= earliest and self._seen.get(path) != s]
        self._seen = now
        self._changed.update(path for path, _ in new)
        return tuple(sorted(new, key=lambda each: (-each[1], each[0]))[:REPORTED_FILES])


def listed(root: Path, path: str) -> tuple[RemoteFile, ...]:
    """List the file at a path below `root`, or all files below it; empty if nothing is at the path."""
    top = root / path
    if top.is_file():
        return (_file_at(top, path),)
    found = [Path(folder, name) for folder, _, names in _walk(top) for name in names]
    return tuple(_file_at(each, str(Path(path, each.relative_to(top)))) for each in sorted(found) if each.is_file())


def part(root: Path, path: str, offset: int, nbytes: int) -> bytes:
    """Read up to `nbytes` bytes of a file from `offset`; fewer at the end of the file."""
    with (root / path).open("rb") as file:
        file.seek(offset)
        return file.read(nbytes)


def _file_at(path: Path, name: str) -> RemoteFile:
    facts = path.stat()
    return RemoteFile(name, facts.st_size, int(facts.st_mtime))


def _walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, directories, names in os.walk(top):
        directories[:] = [each for each in directories if not _left_out(each)]
        yield folder, directories, names


def _left_out(directory: str) -> bool:
    return directory in _CACHES or directory.startswith(".")


def _stamps(root: Path, most: int) -> Iterator[tuple[str, Stamp]]:
    """Yield path and stamp of regular files below a directory, without other file systems (Volumes)."""
    deadline, entries = time.monotonic() + MOST_SECONDS, 0
    try:
        device = root.stat().st_dev
    except OSError:  # a cell has removed the directory
        return
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            found = list(os.scandir(root / folder))
        except OSError:  # the folder was removed, or is not readable
            continue
        for entry in found:
            entries += 1
            if entries > most or time.monotonic() > deadline:
                return
            path = f"{folder}{entry.name}"
            facts = _facts(entry)
            if facts is None or facts.st_dev != device or entry.name.startswith("."):
                continue
            if stat.S_ISDIR(facts.st_mode) and not _left_out(entry.name):
                waiting.append(f"{path}/")
            elif stat.S_ISREG(facts.st_mode):
                yield path, _stamp(facts)


def _facts(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def _stamp(facts: os.stat_result) -> Stamp:
    """Return change time and size. The inode's time, since unpacking an archive sets the modification time."""
    return facts.st_ctime_ns, facts.st_size
