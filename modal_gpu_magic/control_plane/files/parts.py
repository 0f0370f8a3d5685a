"""Uploads of a volume's files in parts of 8 MiB, addressed by content and kept until complete.

Each upload has a directory beside the volumes, named by a hash of its target and content: the file `whole`, which
receives the parts, and an empty file per received part. An interrupted upload resumes without sending parts again.
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
from modal_gpu_magic.control_plane.files.tree import make_private_directories

PART = 8 << 20
"""Bytes of a part: the SDK's `BLOCK_SIZE`. A part's hash excludes trailing zero bytes."""

ABANDONED_SECONDS = 7 * 24 * 3600.0
"""Age after which an interrupted upload is removed."""

_UPLOADS = ".coming"
_EMPTY = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class Incoming:
    """One file being uploaded.

    Attributes:
        target: final path.
        size: bytes.
        mode: permission bits.
        hashes: SHA-256 of each part, in hex.
        directory: directory of the parts until complete.
    """

    target: Path
    size: int
    mode: int
    hashes: tuple[str, ...]
    directory: Path

    @property
    def whole(self) -> Path:
        """Path of the file that receives the parts."""
        return self.directory / "whole"

    def span(self, number: int) -> Span:
        """Return the range of a part."""
        start = number * PART
        return Span(self.whole, start, min(PART, self.size - start), self.hashes[number])

    def missing(self) -> list[int]:
        """Return the numbers of the parts to send; parts that the existing file has at the same offset are copied.

        Blocks: reads the existing file once.
        """
        make_private_directories(self.directory)
        self.whole.touch(mode=0o600)
        marks = {path.name for path in self.directory.iterdir()}
        lacking = [number for number, sha256 in enumerate(self.hashes) if self.span(number).mark.name not in marks]
        return [number for number in lacking if self.hashes[number] != _EMPTY and not self._take_over(number)]

    def _take_over(self, number: int) -> bool:
        """Copy a part from the existing file if the part is the same."""
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
        """Move the complete file into place atomically. Of two concurrent uploads of a file, the first does so."""
        finished = self.directory.with_name(f"{self.directory.name}-{uuid.uuid4().hex}")
        try:
            self.directory.rename(finished)  # so that another upload cannot write to it
        except FileNotFoundError:
            return
        try:
            self._place(finished / self.whole.name)
        except OSError:
            finished.rename(self.directory)  # keep the parts for a retry
            raise
        shutil.rmtree(finished, ignore_errors=True)

    def _place(self, whole: Path) -> None:
        with whole.open("r+b") as content:
            content.truncate(self.size)
        whole.chmod(self.mode & 0o777 or 0o644)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(self.target)


def incoming(volume: Path, target: Path, size: int, mode: int, hashes: tuple[str, ...]) -> Incoming:
    """Return the upload for `target` in `volume`. Different content has a different upload, so parts never mix."""
    identity = "\0".join((str(target), str(size), *hashes))
    name = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:32]
    return Incoming(target, size, mode, hashes, volume.parent / _UPLOADS / name)


def put(volume: Path, target: Path, content: Path, mode: int) -> None:
    """Put a whole file at `target` in `volume`, at once. A link that is in the way is replaced, not followed.

    The half of a file is beside the volume: in the volume, code in a container could put a link in the way.
    """
    half = volume.parent / _UPLOADS / uuid.uuid4().hex
    make_private_directories(half.parent)
    try:
        shutil.copyfile(content, half)
        half.chmod(mode & 0o777 or 0o644)
        target.parent.mkdir(parents=True, exist_ok=True)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def clear_abandoned(volume: Path) -> None:
    """Remove abandoned uploads of all volumes in the same directory."""
    for directory in (volume.parent / _UPLOADS).glob("*"):
        with suppress(OSError):
            if time.time() - directory.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(directory) if directory.is_dir() else directory.unlink()
