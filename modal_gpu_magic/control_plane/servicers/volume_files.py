"""Files of volumes from outside containers: upload, list, read, copy, remove. For both versions of the file system.

Files are sent over HTTP on loopback, because the SDK supports no other way; version 1 sends files under 4 MiB with the
request.
"""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.fields import sha256, shown
from modal_gpu_magic.control_plane.files import tree
from modal_gpu_magic.control_plane.files.loopback import Loopback, Span
from modal_gpu_magic.control_plane.files.parts import PART, Incoming, clear_abandoned, incoming, put
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Invalid, NotFound, found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from modal_gpu_magic.control_plane.images.contents import Contents
    from modal_gpu_magic.control_plane.scheduling.state import Container, State

ENTRIES = 1000
"""Entries of a listing per message."""

ListRequest: TypeAlias = "api_pb2.VolumeListFilesRequest | api_pb2.VolumeListFiles2Request"
RemoveRequest: TypeAlias = "api_pb2.VolumeRemoveFileRequest | api_pb2.VolumeRemoveFile2Request"
CopyRequest: TypeAlias = "api_pb2.VolumeCopyFilesRequest | api_pb2.VolumeCopyFiles2Request"


class VolumeFiles:
    """RPCs of the files of volumes."""

    def __init__(self, state: State, contents: Contents, loopback: Loopback) -> None:
        self._state, self._contents, self._loopback = state, contents, loopback

    async def VolumePutFiles2(
        self, request: api_pb2.VolumePutFiles2Request, peer: Container | None
    ) -> api_pb2.VolumePutFiles2Response:
        """Return the parts to upload, by the hashes of all parts; without missing parts, move the files into place."""
        volume = self._directory(request.volume_id)
        coming = [self._incoming(volume, file, request) for file in request.files]
        missing = [await asyncio.to_thread(each.missing) for each in coming]
        response = api_pb2.VolumePutFiles2Response()
        for index, (file, numbers) in enumerate(zip(coming, missing, strict=True)):
            for number in numbers:
                url = await self._loopback.to_put(file.span(number))
                response.missing_blocks.add(file_index=index, block_index=number, put_url=url)
        if not response.missing_blocks:
            for file in coming:
                await asyncio.to_thread(file.finish)
            await asyncio.to_thread(clear_abandoned, volume)
        return response

    async def VolumePutFiles(self, request: api_pb2.VolumePutFilesRequest, peer: Container | None) -> Empty:
        """Create files whose contents were sent like those of a mount."""
        volume = self._directory(request.volume_id)
        overwrite = not request.disallow_overwrite_existing_files
        targets = [tree.writable(volume, file.filename, overwrite=overwrite) for file in request.files]
        for file, target in zip(request.files, targets, strict=True):
            if not self._contents.has(file.sha256_hex):
                raise NotFound(f"The content of {file.filename!r} was not sent.")
            await asyncio.to_thread(put, volume, target, self._contents.path(file.sha256_hex), file.mode)
        return Empty()

    async def VolumeGetFile2(
        self, request: api_pb2.VolumeGetFile2Request, peer: Container | None
    ) -> api_pb2.VolumeGetFile2Response:
        """Return URLs of a file's parts, from an offset on; `len` 0 means to the end."""
        path = tree.readable(self._directory(request.volume_id), request.path)
        size = path.stat().st_size
        start = min(request.start, size)
        end = min(size, start + request.len) if request.len else size
        bounds = [start, *range((start // PART + 1) * PART, end, PART), end] if end > start else []
        spans = [Span(path, first, last - first) for first, last in pairwise(bounds)]
        urls = [await self._loopback.to_get(span) for span in spans]
        return known(api_pb2.VolumeGetFile2Response, get_urls=urls, size=size, start=start, len=end - start)

    async def VolumeListFiles2(
        self, request: ListRequest, peer: Container | None
    ) -> AsyncIterator[api_pb2.VolumeListFiles2Response]:
        """List a directory or one file."""
        async for batch in self._list(request):
            yield api_pb2.VolumeListFiles2Response(entries=batch)

    async def VolumeListFiles(
        self, request: ListRequest, peer: Container | None
    ) -> AsyncIterator[api_pb2.VolumeListFilesResponse]:
        """List a directory or one file, version 1."""
        async for batch in self._list(request):
            yield api_pb2.VolumeListFilesResponse(entries=batch)

    async def VolumeRemoveFile2(self, request: RemoveRequest, peer: Container | None) -> Empty:
        """Remove a file or a directory."""
        volume = self._directory(request.volume_id)
        await asyncio.to_thread(tree.remove, volume, request.path, recursive=request.recursive)
        return Empty()

    async def VolumeCopyFiles2(self, request: CopyRequest, peer: Container | None) -> Empty:
        """Copy inside the volume, as `cp` does."""
        volume = self._directory(request.volume_id)
        await asyncio.to_thread(tree.copy, volume, request.src_paths, request.dst_path, recursive=request.recursive)
        return Empty()

    VolumeRemoveFile = VolumeRemoveFile2
    VolumeCopyFiles = VolumeCopyFiles2

    async def _list(self, request: ListRequest) -> AsyncIterator[list[api_pb2.FileEntry]]:
        volume = self._directory(request.volume_id)
        listed = await asyncio.to_thread(
            tree.entries, volume, request.path, recursive=request.recursive, most=request.max_entries
        )
        for first in range(0, len(listed), ENTRIES):
            yield listed[first : first + ENTRIES]

    def _directory(self, volume_id: str) -> Path:
        return found(self._state.volumes, volume_id, "volume").path

    def _incoming(
        self, volume: Path, file: api_pb2.VolumePutFiles2Request.File, request: api_pb2.VolumePutFiles2Request
    ) -> Incoming:
        """Return the upload of a file; raises Exists or Invalid if its target is not allowed."""
        overwrite = not request.disallow_overwrite_existing_files
        target = tree.writable(volume, file.path, overwrite=overwrite)
        hashes = tuple(sha256(block.contents_sha256.hex(), "a part") for block in file.blocks)
        if len(hashes) != -(-file.size // PART):
            raise Invalid(f"{shown(file.path)} has {file.size:,} bytes and {len(hashes)} parts of {PART:,} bytes.")
        return incoming(volume, target, file.size, file.mode, hashes)
