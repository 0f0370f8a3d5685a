"""HTTP on 127.0.0.1 for data that the SDK sends only by HTTP: blobs, and files of volumes.

The SDK's HTTP client does not support Unix sockets. The listener starts on first use. Each URL names one range of a
file on disk and is signed with a key of this server, so only URLs made by the server are valid.
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
    from aiohttp.typedefs import Handler

CHUNK = 1 << 20
"""Bytes read from disk at a time."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a file to read or write.

    Attributes:
        path: absolute path, of an existing file (to read) or in an existing directory (to write).
        start: offset of the first byte.
        length: bytes to read, or most bytes to write.
        sha256: expected hash of the written data; empty: any. A verified part leaves an empty file named `mark`
            beside `path`.
    """

    path: Path
    start: int = 0
    length: int = 0
    sha256: str = ""

    @property
    def mark(self) -> Path:
        """Path of the empty file that marks this part as received."""
        return self.path.with_name(f"{self.start}-{self.sha256}")


class Loopback:
    """The HTTP listener of one server."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._runner: web.AppRunner | None = None
        self._base = ""
        self._starting = asyncio.Lock()

    async def to_put(self, span: Span) -> str:
        """Return a URL for writing `span`. The response's ETag is the hash; the SDK compares it if it is an MD5."""
        return await self._address("PUT", span)

    async def to_get(self, span: Span) -> str:
        """Return a URL for reading `span`."""
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

        app = web.Application(middlewares=[web.middleware(_answer_errors)])
        app.router.add_put("/", self._put)
        app.router.add_get("/", self._get)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self._runner, self._base = runner, f"http://{host}:{port}/"

    def _span_of(self, request: web.Request) -> Span:
        """Return the range that a request names; 403 if the signature is wrong."""
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
        """Write the request's body; 400 if its hash is wrong, 413 if the body is longer than the range."""
        from aiohttp import web

        span = self._span_of(request)
        digest = hashlib.sha256() if span.sha256 else hashlib.md5(usedforsecurity=False)
        if (request.content_length or 0) > span.length:
            raise web.HTTPRequestEntityTooLarge(span.length, request.content_length or 0)
        span.mark.unlink(missing_ok=True)  # from the first byte on, the part is no longer known to be whole
        with os.fdopen(_opened(span), "wb") as stream:
            stream.seek(span.start)
            left = span.length
            async for chunk in request.content.iter_any():
                left -= len(chunk)
                if left < 0:
                    raise web.HTTPRequestEntityTooLarge(span.length, span.length - left)
                digest.update(chunk)
                stream.write(chunk)
        if span.sha256 and digest.hexdigest() != span.sha256:
            raise web.HTTPBadRequest(text="The content changed during the upload: its hash differs.")
        if span.sha256:
            with suppress(FileNotFoundError):  # finished by another upload, see _opened
                span.mark.touch()
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        """Send the range in chunks; 404 if the file has gone."""
        from aiohttp import web

        span = self._span_of(request)
        try:
            stream = os.fdopen(os.open(span.path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except OSError:  # gone, or replaced by a link or a directory
            raise web.HTTPNotFound from None
        with stream:
            response = web.StreamResponse(headers={"Content-Length": str(span.length)})
            await response.prepare(request)
            left = span.length
            stream.seek(span.start)
            while left and (chunk := stream.read(min(CHUNK, left))):
                await response.write(chunk)
                left -= len(chunk)
        return response


async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer an error of the system, such as a full disk, with its text instead of a traceback in the log."""
    from aiohttp import web

    try:
        return await handler(request)
    except ConnectionError:
        raise  # the peer has gone
    except OSError as error:
        return web.Response(status=507, text=f"{error.strerror}.")


def _opened(span: Span) -> int:
    """Open the file to write, or /dev/null if another upload of the same file has finished meanwhile.

    Happens when ■ stops an upload too late and its line is run again. The finished file has the same content, and an
    error would make the SDK retry for minutes.
    """
    try:
        return os.open(span.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        if not span.sha256:
            raise
        return os.open(os.devnull, os.O_WRONLY)
