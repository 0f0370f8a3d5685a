"""Small files of the notebook's that a cell names literally: which travel with it (DESIGN decision 14)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_BYTES = 10_000_000
"""The largest file that travels by itself."""

Stamp = tuple[int, int]


class Files:
    """What the session's container has of the notebook's files: each is sent when it is new or was changed."""

    def __init__(self) -> None:
        self._sent: dict[str, Stamp] = {}
        self._read: dict[str, Stamp] = {}

    def outgoing(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Contents of the files that must travel, by the relative path the cell names them with."""
        # As they are now: one that is written to while the cell runs must travel again.
        self._read = {path: stamp for path in paths if (stamp := _stamp(path))}
        return {path: Path(path).read_bytes() for path, stamp in self._read.items() if self._sent.get(path) != stamp}

    def sent(self, files: Iterable[str]) -> None:
        """The container has these now, as `outgoing` last saw them."""
        self._sent.update({path: self._read[path] for path in files if path in self._read})

    def forget(self) -> None:
        """The container is gone."""
        self._sent.clear()


def that_travel(paths: Iterable[str]) -> tuple[str, ...]:
    """Of the paths a cell names, those of small files below the working directory: the container's is another one."""
    return tuple(path for path in paths if _is_inside(path) and _stamp(path) is not None)


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def _stamp(path: str) -> Stamp | None:
    """When and how large a small file is; None: it is no file, or too large."""
    try:
        facts = Path(path).stat()
        small = Path(path).is_file() and facts.st_size <= FILE_BYTES
    except (OSError, ValueError):
        return None
    return (facts.st_mtime_ns, facts.st_size) if small else None
