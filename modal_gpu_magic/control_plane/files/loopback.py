"""HTTP on 127.0.0.1, for what the SDK sends no other way: blobs, and the files of volumes.

The SDK's HTTP client takes no Unix sockets. The listener is not there before it is needed, and each address names one
place on disk and is signed with a key of this server: who has not been given it cannot make it up, nor any other.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

CHUNK = 1 << 20
"""Bytes that are read from disk at a time."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file, to be read or written.

    Attributes:
        path: absolute, of a file that exists (to be read), or whose directory exists (to be written).
        start: the first byte.
        length: bytes to read; unused when written.
        sha256: what is written must have this hash; empty: anything. A verified part leaves an empty file beside
            `path`, named by `mark`.
    """

    path: Path
    start: int = 0
    length: int = 0
    sha256: str = ""

    @property
    def mark(self) -> Path:
        """The file that says that this part has come, as it should."""
        return self.path.with_name(f"{self.start}-{self.sha256}")


class Loopback:
    """The listener of one server."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._runner: web.AppRunner | None = None
        self._base = ""
        self._starting = asyncio.Lock()

    async def to_put(self, span: Span) -> str:
        """An address that takes the content of `span`; its hash comes back as ETag, the MD5 that the SDK compares."""
        return await self._address("PUT", span)

    async def to_get(self, span: Span) -> str:
        """An address that gives the content of `span`."""
        return await self._address("GET", span)

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _address(self, verb: str, span: Span) -> str:
        from yarl import URL

        async with self._starting:
            if self._runner is None:
                await self._listen()
        query = {"path": str(span.path), "start": str(span.start), "length": str(span.length), "sha256": span.sha256}
        return str(URL(self._base).with_query({**query, "key": self._signature(verb, span)}))

    def _signature(self, verb: str, span: Span) -> str:
        fields = json.dumps([verb, str(span.path), span.start, span.length, span.sha256])  # no two spans give one text
        return hmac.new(self._key, fields.encode(), "sha256").hexdigest()

    async def _listen(self) -> None:
        from aiohttp import web

        app = web.Application()
        app.router.add_put("/", self._put)
        app.router.add_get("/", self._get)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self._runner, self._base = runner, f"http://{host}:{port}/"

    def _asked(self, request: web.Request) -> Span:
        """What a request is about; 403 if the address was not made here."""
        from aiohttp import web

        query = request.query
        try:
            span = Span(Path(query["path"]), int(query["start"]), int(query["length"]), query["sha256"])
            right = hmac.compare_digest(query["key"], self._signature(request.method, span))
        except (KeyError, ValueError, TypeError):
            right = False
        if not right:
            raise web.HTTPForbidden
        return span

    async def _put(self, request: web.Request) -> web.Response:
        """Write what comes at its place; 400 if it is not what it should be."""
        from aiohttp import web

        span = self._asked(request)
        digest = hashlib.sha256() if span.sha256 else hashlib.md5(usedforsecurity=False)
        with os.fdopen(_opened(span), "wb") as stream:
            stream.seek(span.start)
            async for chunk in request.content.iter_any():
                digest.update(chunk)
                stream.write(chunk)
        if span.sha256 and digest.hexdigest() != span.sha256:
            raise web.HTTPBadRequest(text="The content has changed while it was sent: its hash is another one.")
        if span.sha256:
            with suppress(FileNotFoundError):  # finished meanwhile, as in _opened
                span.mark.touch()
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes, a chunk at a time."""
        from aiohttp import web

        span = self._asked(request)
        response = web.StreamResponse(headers={"Content-Length": str(span.length)})
        await response.prepare(request)
        left = span.length
        with span.path.open("rb") as stream:
            stream.seek(span.start)
            while left and (chunk := stream.read(min(CHUNK, left))):
                await response.write(chunk)
                left -= len(chunk)
        return response


def _opened(span: Span) -> int:
    """The file that gets a request's bytes; nothing does if another upload of the same file was through before.

    So it is when ■ comes too late to stop an upload and its line is run again. An error would make the SDK try for
    minutes; as it is, the file that is there has these bytes.
    """
    try:
        return os.open(span.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        if not span.sha256:
            raise
        return os.open(os.devnull, os.O_WRONLY)
