"""Mounts: files of the client, stored by content, and their paths in a container."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.fields import absolute_path, shown
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Invalid
from modal_gpu_magic.control_plane.scheduling.state import Container, MountedFile, State, new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.control_plane.images.contents import Contents
    from modal_gpu_magic.control_plane.servicers.blobs import Blobs


class Mounts:
    """RPCs of mounts."""

    def __init__(self, state: State, contents: Contents, blobs: Blobs) -> None:
        self._state, self._contents, self._blobs = state, contents, blobs
        self._ids: dict[tuple[str, tuple[MountedFile, ...]], str] = {}

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, peer: Container | None
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        """Return the hashes of contents that are missing."""
        missing = [each for each in request.sha256_hex_hashes if not self._contents.has(each)]
        return known(api_pb2.MountBatchedCheckExistenceResponse, missing_sha256_hex_hashes=missing)

    async def MountPutFile(
        self, request: api_pb2.MountPutFileRequest, peer: Container | None
    ) -> api_pb2.MountPutFileResponse:
        """Store a content; without data, only return whether the content exists."""
        if request.WhichOneof("data_oneof") == "data":
            self._contents.put(request.sha256_hex, request.data)
        elif request.data_blob_id and not self._contents.has(request.sha256_hex):
            blob = self._blobs.path(request.data_blob_id)
            await asyncio.to_thread(self._contents.adopt, request.sha256_hex, blob)
        return known(api_pb2.MountPutFileResponse, exists=self._contents.has(request.sha256_hex))

    async def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.MountGetOrCreateResponse:
        """Return a mount of files; equal names and files give the same mount. Modal's client and Python are named."""
        files = tuple(self._file(file) for file in request.files)
        mount_id = self._ids.setdefault((request.deployment_name, files), new_id("mo"))
        self._state.mounts[mount_id] = files
        return known(api_pb2.MountGetOrCreateResponse, mount_id=mount_id, handle_metadata=mount_metadata(files))

    def _file(self, file: api_pb2.MountFile) -> MountedFile:
        """Return a file of a mount; raise Invalid for a path that cannot be, or a content that was not sent."""
        path = absolute_path(file.filename, "The file")
        if not self._contents.has(file.sha256_hex):
            raise Invalid(f"The content of {shown(file.filename)} was not sent.")
        return MountedFile(path, file.sha256_hex, file.mode)


def mount_metadata(files: Sequence[MountedFile]) -> api_pb2.MountHandleMetadata:
    """Return the SDK's metadata of a mount: a hash of paths and contents."""
    listed = "\n".join(f"{file.remote_path} {file.sha256}" for file in files)
    checksum = hashlib.sha256(listed.encode()).hexdigest()
    return known(api_pb2.MountHandleMetadata, content_checksum_sha256_hex=checksum)
