"""Mounts: files of the client, by content, and which of them belong where in a container."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Invalid, NotFound
from modal_gpu_magic.control_plane.state import Container, MountedFile, State, new_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modal_gpu_magic.control_plane.servicers.blobs import Blobs


_SHA256 = re.compile(r"[0-9a-f]{64}")


class Contents:
    """File contents by SHA-256, in a directory of the server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, sha256: str) -> Path:
        """Where a content is, or would be."""
        if not _SHA256.fullmatch(sha256):
            raise Invalid(f"{sha256!r} is not a SHA-256 hash.")
        return self._directory / sha256

    def has(self, sha256: str) -> bool:
        """Whether it was put."""
        return self.path(sha256).is_file()

    def put(self, sha256: str, content: bytes) -> None:
        """Keep a content; raises Invalid if the hash is another one's."""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Invalid(f"The content of {sha256} has another hash.")
        self._directory.mkdir(exist_ok=True)
        half = self.path(sha256).with_suffix(".half")
        half.write_bytes(content)
        half.rename(self.path(sha256))

    def adopt(self, sha256: str, file: Path) -> None:
        """Keep a content that came as a blob; raises Invalid if the hash is another one's. Blocks: reads the file."""
        try:
            found = _sha256_of(file)
        except FileNotFoundError:
            raise NotFound(f"The blob with the content of {sha256} has not been sent.") from None
        if found != sha256:
            raise Invalid(f"The content of {sha256} has another hash.")
        self._directory.mkdir(exist_ok=True)
        file.rename(self.path(sha256))


def _sha256_of(file: Path) -> str:
    running = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            running.update(chunk)
    return running.hexdigest()


class Mounts:
    """RPCs of mounts."""

    def __init__(self, state: State, contents: Contents, blobs: Blobs) -> None:
        self._state, self._contents, self._blobs = state, contents, blobs
        self._ids: dict[tuple[str, tuple[MountedFile, ...]], str] = {}

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, peer: Container | None
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        """Which of these contents are to be sent."""
        missing = [each for each in request.sha256_hex_hashes if not self._contents.has(each)]
        return known(api_pb2.MountBatchedCheckExistenceResponse, missing_sha256_hex_hashes=missing)

    async def MountPutFile(
        self, request: api_pb2.MountPutFileRequest, peer: Container | None
    ) -> api_pb2.MountPutFileResponse:
        """One content; without data, the question whether it is here."""
        if request.WhichOneof("data_oneof") == "data":
            self._contents.put(request.sha256_hex, request.data)
        elif request.data_blob_id and not self._contents.has(request.sha256_hex):
            blob = self._blobs.path(request.data_blob_id)
            await asyncio.to_thread(self._contents.adopt, request.sha256_hex, blob)
        return known(api_pb2.MountPutFileResponse, exists=self._contents.has(request.sha256_hex))

    async def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.MountGetOrCreateResponse:
        """A list of files; the same list, or name, is the same mount. A named one is Modal's own client or Python."""
        files = tuple(MountedFile(file.filename, file.sha256_hex, file.mode) for file in request.files)
        mount_id = self._ids.setdefault((request.deployment_name, files), new_id("mo"))
        self._state.mounts[mount_id] = files
        return known(api_pb2.MountGetOrCreateResponse, mount_id=mount_id, handle_metadata=mount_metadata(files))


def mount_metadata(files: Sequence[MountedFile]) -> api_pb2.MountHandleMetadata:
    """What the SDK knows of a mount: a hash over its names and contents."""
    listed = "\n".join(f"{file.remote_path} {file.sha256}" for file in files)
    checksum = hashlib.sha256(listed.encode()).hexdigest()
    return known(api_pb2.MountHandleMetadata, content_checksum_sha256_hex=checksum)
