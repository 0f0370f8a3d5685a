"""Payloads that the SDK sends over HTTP: files of 4 MiB and more in mounts, and startup errors over 2 MiB.

Arguments and results are sent over gRPC.
"""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.files.loopback import Loopback, Span
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import NotFound, found
from modal_gpu_magic.control_plane.scheduling.state import Container, new_id

if TYPE_CHECKING:
    from pathlib import Path


class Blobs:
    """RPCs of blobs."""

    def __init__(self, directory: Path, loopback: Loopback) -> None:
        self._directory, self._loopback = directory, loopback
        self._paths: dict[str, Path] = {}

    def path(self, blob_id: str) -> Path:
        """Return the path of a blob's content."""
        return found(self._paths, blob_id, "blob")

    async def BlobCreate(
        self, request: api_pb2.BlobCreateRequest, peer: Container | None
    ) -> api_pb2.BlobCreateResponse:
        """Return a URL for uploading a payload."""
        self._directory.mkdir(exist_ok=True, mode=0o700)
        blob_id = new_id("bl")
        self._paths[blob_id] = self._directory / blob_id
        urls = api_pb2.UploadUrlList(
            items=[await self._loopback.to_put(Span(self._paths[blob_id], length=request.content_length))]
        )
        return known(api_pb2.BlobCreateResponse, blob_ids=[blob_id], upload_urls=urls)

    async def BlobGet(self, request: api_pb2.BlobGetRequest, peer: Container | None) -> api_pb2.BlobGetResponse:
        """Return a URL for downloading a payload."""
        path = self.path(request.blob_id)
        if not path.is_file():
            raise NotFound(f"The content of blob {request.blob_id!r} was not sent.")
        url = await self._loopback.to_get(Span(path, length=path.stat().st_size))
        return known(api_pb2.BlobGetResponse, download_url=url)
