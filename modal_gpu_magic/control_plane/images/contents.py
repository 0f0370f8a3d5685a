"""Contents of files in mounts and images, stored once each."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane.refusals import Invalid

if TYPE_CHECKING:
    from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Contents:
    """File contents by SHA-256, in a directory of the server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, sha256: str) -> Path:
        """Return the path of a content, stored or not."""
        if not _SHA256.fullmatch(sha256):
            raise Invalid(f"{sha256!r} is not a SHA-256 hash.")
        return self._directory / sha256

    def has(self, sha256: str) -> bool:
        """Return whether a content is stored."""
        return self.path(sha256).is_file()

    def put(self, sha256: str, content: bytes) -> None:
        """Store a content; raise Invalid if its hash differs."""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Invalid(f"The content of {sha256} has another hash.")
        self._directory.mkdir(exist_ok=True)
        temporary = self.path(sha256).with_suffix(".half")
        temporary.write_bytes(content)
        temporary.rename(self.path(sha256))

    def adopt(self, sha256: str, file: Path) -> None:
        """Store a content that was received as a blob."""
        self._directory.mkdir(exist_ok=True)
        file.rename(self.path(sha256))
