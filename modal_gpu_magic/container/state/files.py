"""Files in the container's own working directory: those that came with a cell, those a cell wrote, and reading them."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.messages.events import FileThere

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_ENTRIES = 5_000
"""How many entries of the working directory are looked at after a cell; takes about 6 ms."""
MOST_SECONDS = 0.05
TOLD = 20
"""How many files the notebook hears of."""
COARSE_SECONDS = 0.02
"""How far the clock of a file system may be behind: the kernel advances it at its ticks."""
_CACHES = frozenset({"__pycache__", "node_modules", "modal_gpu_magic"})
"""Directories whose files nobody wants to fetch, and our own package; hidden ones are left out, too."""

Stamp = tuple[int, int]


class Watch:
    """Tells which files below a directory a cell made or changed. A very large directory is looked at in part.

    Args:
        root: the directory.
        most: how many of its entries are looked at.
    """

    def __init__(self, root: Path, most: int = MOST_ENTRIES) -> None:
        self._root, self._most = root, most
        self._seen = dict(_stamps(root, most))

    def note(self, paths: Iterable[str]) -> None:
        """These files came from the notebook: no cell wrote them."""
        for path in paths:
            name = os.path.normpath(path)
            if (self._root / name).is_file():
                self._seen[name] = _stamp((self._root / name).stat())

    def written(self, since: float) -> tuple[tuple[str, int], ...]:
        """Files that are new, or were changed, since `since` (seconds of the epoch): path and bytes, biggest first."""
        earliest = int((since - COARSE_SECONDS) * 1e9)
        now = dict(_stamps(self._root, self._most))
        new = [(path, s[1]) for path, s in now.items() if s[0] >= earliest and self._seen.get(path) != s]
        self._seen = now
        return tuple(sorted(new, key=lambda each: (-each[1], each[0]))[:TOLD])


def listed(root: Path, path: str) -> tuple[FileThere, ...]:
    """The file at a path below `root`, or all files below it if it is a directory; none if it is neither."""
    top = root / path
    if top.is_file():
        return (_there(top, path),)
    found = [Path(folder, name) for folder, _, names in _walk(top) for name in names]
    return tuple(_there(each, str(Path(path, each.relative_to(top)))) for each in sorted(found) if each.is_file())


def part(root: Path, path: str, offset: int, nbytes: int) -> bytes:
    """Some bytes of a file; fewer at its end."""
    with (root / path).open("rb") as file:
        file.seek(offset)
        return file.read(nbytes)


def _there(path: Path, name: str) -> FileThere:
    facts = path.stat()
    return FileThere(name, facts.st_size, int(facts.st_mtime))


def _walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, directories, names in os.walk(top):
        directories[:] = [each for each in directories if not _left_out(each)]
        yield folder, directories, names


def _left_out(directory: str) -> bool:
    return directory in _CACHES or directory.startswith(".")


def _stamps(root: Path, most: int) -> Iterator[tuple[str, Stamp]]:
    """Regular files below a directory, less what other file systems hold (Volumes): path, time of change, size."""
    deadline, entries, device = time.monotonic() + MOST_SECONDS, 0, root.stat().st_dev
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            found = list(os.scandir(root / folder))
        except OSError:  # removed meanwhile, or not ours to read
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
    """The time of change is that of the inode: an archive that is unpacked sets the other one."""
    return facts.st_ctime_ns, facts.st_size
