"""Local records of the files uploaded to a Volume, so that unchanged files are not sent again."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from modal_gpu_magic.plan.copy.copies import Note

CHUNK_BYTES = 1 << 20
"""Size of one read while a file is hashed, bytes."""


def notes_directory() -> Path:
    """The directory of the records, one file per Volume."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "modal_gpu_magic", "put")


class Notes:
    """The records of one Volume. An unreadable or unwritable record causes a transfer, never an error."""

    def __init__(self, key: str) -> None:
        self._path = notes_directory() / f"{key}.json"
        self._notes: dict[str, Note] = {}
        with suppress(OSError, ValueError, TypeError):
            read = json.loads(self._path.read_text(encoding="utf-8"))
            self._notes = {path: Note(*fields) for path, fields in read.items()}

    def of(self, path: str) -> Note | None:
        """The record of a path of the Volume; None: none exists."""
        return self._notes.get(path)

    def keep(self, notes: dict[str, Note]) -> None:
        """Add records and save all records."""
        self._notes.update(notes)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(f".{os.getpid()}")
            partial.write_text(
                json.dumps({path: astuple(note) for path, note in self._notes.items()}), encoding="utf-8"
            )
            partial.replace(self._path)


async def digest_of(path: Path) -> str:
    """The hash of a file's content."""
    return await asyncio.to_thread(_digest, path)


def _digest(path: Path) -> str:
    import xxhash

    hashed = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hashed.update(chunk)
    return hashed.hexdigest()
