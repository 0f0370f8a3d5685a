"""Contents of files in mounts and images, stored once each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane import fields
from modal_gpu_magic.control_plane.refusals import Invalid, NotFound

if TYPE_CHECKING:
    from pathlib import Path


class Contents:
    """File contents by SHA-256, in a directory of the server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, sha256: str) -> Path:
        """Return the path of a content, stored or not."""
        return self._directory / fields.sha256(sha256, "a content")

    def has(self, sha256: str) -> bool:
        """Return whether a content is stored."""
        return self.path(sha256).is_file()

    def put(self, sha256: str, content: bytes) -> None:
        """Store a content; raise Invalid if its hash differs."""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Invalid(f"The content of {sha256} has another hash.")
        self._directory.mkdir(exist_ok=True, mode=0o700)
        temporary = self.path(sha256).with_suffix(".half")
        temporary.write_bytes(content)
        temporary.rename(self.path(sha256))

    def adopt(self, sha256: str, file: Path) -> None:
        """Keep a content that came as a blob; raises Invalid if the hash is another one's. Blocks: reads the file."""
        try:
            found = _sha256_of(file)
        except FileNotFoundError:
            raise NotFound(f"The blob with the content of {sha256} has not been sent.") from None
        if found != sha256:
            raise Invalid(f"The content of {sha256} has another hash.")
        self._directory.mkdir(exist_ok=True, mode=0o700)
        file.rename(self.path(sha256))


def _sha256_of(file: Path) -> str:
    running = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            running.update(chunk)
    return running.hexdigest()
