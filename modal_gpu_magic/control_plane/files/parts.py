"""A volume's file on its way in: parts of 8 MiB by content, kept until all are there. What was sent is not sent again.

Each file has a directory beside the volumes, named by where it goes: `whole`, into which parts are written at their
place, and an empty file for each part that came. An upload that was broken off goes on from there.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modal_gpu_magic.control_plane.files.loopback import Span

PART = 8 << 20
"""Bytes of a part: the SDK's `BLOCK_SIZE`. A part's hash leaves out zero bytes at its end."""

KEPT = 7 * 24 * 3600.0
"""Seconds for which an upload that was broken off can go on."""

_ENDED = ".coming"
_EMPTY = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class Incoming:
    """One file that is being put.

    Attributes:
        target: where it goes.
        size: its bytes.
        mode: its permission bits.
        hashes: SHA-256 of each part, as hex.
        directory: where its parts are until then.
    """

    target: Path
    size: int
    mode: int
    hashes: tuple[str, ...]
    directory: Path

    @property
    def whole(self) -> Path:
        """The file that grows."""
        return self.directory / "whole"

    def span(self, number: int) -> Span:
        """The place of a part."""
        return Span(self.whole, number * PART, sha256=self.hashes[number])

    def missing(self) -> list[int]:
        """Numbers of the parts that have to be sent. Those that the old file has at the same place are taken from it.

        Blocks: reads the old file once.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.whole.touch(mode=0o600)
        marks = {path.name for path in self.directory.iterdir()}
        lacking = [number for number, sha256 in enumerate(self.hashes) if self.span(number).mark.name not in marks]
        return [number for number in lacking if self.hashes[number] != _EMPTY and not self._take_over(number)]

    def _take_over(self, number: int) -> bool:
        """Copy a part from the file that is there now, if it is the same."""
        with suppress(OSError), self.target.open("rb") as old:
            old.seek(number * PART)
            content = old.read(PART).rstrip(b"\0")
            if hashlib.sha256(content).hexdigest() == self.hashes[number]:
                with self.whole.open("r+b") as whole:
                    whole.seek(number * PART)
                    whole.write(content)
                self.span(number).mark.touch()
                return True
        return False

    def finish(self) -> None:
        """All parts are there: the file takes its place, at once. Of two that put the same one, the first does it."""
        ended = self.directory.with_name(f"{self.directory.name}-{uuid.uuid4().hex}")
        try:
            self.directory.rename(ended)  # no part of another upload gets between what follows
        except FileNotFoundError:
            return
        try:
            self._place(ended / self.whole.name)
        except OSError:
            ended.rename(self.directory)  # its parts need not be sent again
            raise
        shutil.rmtree(ended, ignore_errors=True)

    def _place(self, whole: Path) -> None:
        with whole.open("r+b") as content:
            content.truncate(self.size)
        whole.chmod(self.mode & 0o777 or 0o644)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(self.target)


def incoming(volume: Path, target: Path, size: int, mode: int, hashes: tuple[str, ...]) -> Incoming:
    """The file that is put at `target` in `volume`. Another content is another upload: parts do not mix."""
    identity = "\0".join((str(target), str(size), *hashes))
    name = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:32]
    return Incoming(target, size, mode, hashes, volume.parent / _ENDED / name)


def put(volume: Path, target: Path, content: Path, mode: int) -> None:
    """Put a whole file at `target` in `volume`, at once. A link that is in the way is replaced, not followed.

    The half of a file is beside the volume: in the volume, code in a container could put a link in the way.
    """
    half = volume.parent / _ENDED / uuid.uuid4().hex
    half.parent.mkdir(exist_ok=True, mode=0o700)
    try:
        shutil.copyfile(content, half)
        half.chmod(mode & 0o777 or 0o644)
        target.parent.mkdir(parents=True, exist_ok=True)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def clear_abandoned(volume: Path) -> None:
    """Remove what was broken off long ago, of all volumes in the same directory."""
    for directory in (volume.parent / _ENDED).glob("*"):
        with suppress(OSError):
            if time.time() - directory.stat().st_mtime > KEPT:
                shutil.rmtree(directory) if directory.is_dir() else directory.unlink()
