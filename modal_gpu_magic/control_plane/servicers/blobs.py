"""Payloads that the SDK sends over HTTP: files of 4 MiB and more in mounts, and errors at start-up over 2 MiB.

The HTTP listener is on loopback, with a random key in every address, and is not there before it is needed: arguments
and results never need it.
"""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import found
from modal_gpu_magic.control_plane.state import Container, new_id

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

LARGEST = 8 << 30
"""Bytes of one blob."""


class Blobs:
    """RPCs of blobs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = os.urandom(16).hex()
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._paths: dict[str, Path] = {}

    def path(self, blob_id: str) -> Path:
        """Where a blob's content is."""
        return found(self._paths, blob_id, "blob")

    async def BlobCreate(
        self, request: api_pb2.BlobCreateRequest, peer: Container | None
    ) -> api_pb2.BlobCreateResponse:
        """An address to put a payload to."""
        await self._listen()
        blob_id = new_id("bl")
        self._paths[blob_id] = self._directory / blob_id
        urls = api_pb2.UploadUrlList(items=[f"{self._url}/{blob_id}"])
        return known(api_pb2.BlobCreateResponse, blob_ids=[blob_id], upload_urls=urls)

    async def BlobGet(self, request: api_pb2.BlobGetRequest, peer: Container | None) -> api_pb2.BlobGetResponse:
        """The address to get it from."""
        await self._listen()
        self.path(request.blob_id)
        return known(api_pb2.BlobGetResponse, download_url=f"{self._url}/{request.blob_id}")

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self) -> None:
        if self._runner is not None:
            return
        from aiohttp import web

        self._directory.mkdir(exist_ok=True)
        app = web.Application(client_max_size=LARGEST)
        app.router.add_put("/{key}/{blob}", self._put)
        app.router.add_get("/{key}/{blob}", self._get)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}/{self._key}"

    def _checked(self, request: web.Request) -> Path:
        """The blob that an address names; 403 without the key."""
        from aiohttp import web

        blob = self._paths.get(request.match_info["blob"])
        if blob is None or not hmac.compare_digest(request.match_info["key"], self._key):
            raise web.HTTPForbidden
        return blob

    async def _put(self, request: web.Request) -> web.Response:
        """Keep a payload. The SDK wants its MD5 back as ETag."""
        from aiohttp import web

        path, digest = self._checked(request), hashlib.md5(usedforsecurity=False)
        with path.open("wb") as stream:
            async for chunk in request.content.iter_any():
                digest.update(chunk)
                stream.write(chunk)
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        return web.FileResponse(self._checked(request))
