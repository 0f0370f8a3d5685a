"""Requests to the control plane, of its client and of a container: refused with a sentence, never a bug, never a hang."""

from __future__ import annotations

import asyncio
import random
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import modal
from google.protobuf.empty_pb2 import Empty
from grpclib import Status

from tests.control_plane.odd_requests import FAULTS, ROUTES, Raw, filled, framed, served
from tests.control_plane.plane import Plane
from tests.fuzz.target import Case, mutated

TOGETHER = 8
"""Requests of one case, at once: some are held until they are given up."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@contextmanager
def target() -> Iterator[Case]:
    """A control plane with an app, a container that runs, and one object of each kind."""
    with tempfile.TemporaryDirectory() as place:
        directories = {name: f"{place}/{name}" for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        plane = Plane(directories, cwd=Path(place))
        try:
            client = plane.client()
            with _objects(client) as (known, reached):
                yield _Fuzzer(Raw.client(plane.hello), reached, known).case
        finally:
            plane.leave()


def _reached() -> tuple[str, str]:
    """Where a container is reached, and the header that it shows."""
    import os

    return os.environ["MODAL_SERVER_URL"], os.environ["MODAL_OVERRIDE_HEADERS"]


@contextmanager
def _objects(client: Any) -> Iterator[tuple[list[str], Callable[[], Raw]]]:
    """Ids of objects for the requests, and a function that gives the door of a container which runs."""
    app = modal.App("fuzz")
    function: Any = app.function(serialized=True, name="known")(_reached)
    idle: Any = app.function(serialized=True, name="idle", scaledown_window=1200)(_reached)

    def reached() -> Raw:
        url, header = idle.remote()
        name, _, value = header.partition(":")
        return Raw(url.removeprefix("unix://"), {name: value})

    with (
        modal.Queue.ephemeral(client=client) as queue,
        modal.Dict.ephemeral(client=client) as kept,
        modal.Volume.ephemeral(client=client) as volume,
        app.run(client=client),
    ):
        secret = modal.Secret.from_dict({"KEY": "value"}).hydrate(client)
        image = modal.Image.debian_slim().build(app)
        objects = (function, function.spawn(), queue, kept, volume, secret, image)
        yield [app.app_id or "", *(each.object_id for each in objects)], reached


class _Fuzzer:
    """Sends odd requests to the two doors; `known` are ids of objects that exist."""

    def __init__(self, client: Raw, reached: Callable[[], Raw], known: list[str]) -> None:
        self._client, self._reached, self._known = client, reached, known
        self._container = reached()
        self._names = served()

    def case(self, numbers: random.Random) -> str | None:
        """Send some requests at once, then one that is right. A container that a request has ended is replaced."""
        if not Path(self._container.path).exists():
            self._container = self._reached()
        peers = numbers.choices((self._client, self._container), (3, 1), k=TOGETHER)
        requests = [(peer, *self._request(numbers)) for peer in peers]
        if numbers.random() < 0.1:
            _noise(numbers.choice(peers).path, numbers)
        return asyncio.run(self._sent(requests))

    def _request(self, numbers: random.Random) -> tuple[str, Any]:
        name = numbers.choice(self._names)
        message = filled(ROUTES[name].request_type(), numbers, self._known)
        body = message.SerializeToString()
        frame = numbers.choice(
            (
                message,
                message,
                framed(mutated(body, numbers)),
                framed(body, compressed=1),
                framed(body, length=numbers.choice((0, len(body) + 1, max(0, len(body) - 1), 2**31, 2**32 - 1))),
                mutated(framed(body), numbers),
            )
        )
        return name, frame

    async def _sent(self, requests: list[tuple[Raw, str, Any]]) -> str | None:
        answers = await asyncio.gather(*(peer.ask(name, request) for peer, name, request in requests))
        for (_, name, request), (status, words) in zip(requests, answers, strict=True):
            if status in FAULTS:
                return f"{status}: {words}: {name}({request!r})"
        status, words = await self._client.ask("ClientHello", Empty())
        return None if (status, words) == (Status.OK, "") else f"{status}: {words}: the server after {requests!r}"


def _noise(path: str, numbers: random.Random) -> None:
    """Write bytes that are no HTTP/2, or only begin so."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(1)
        peer.connect(path)
        peer.sendall(numbers.choice((b"", PREFACE)) + numbers.randbytes(numbers.randrange(200)))
