"""The network between a client and the cloud, for tests and benchmarks: TCP proxies with a delay, a bandwidth and faults.

A proxy passes bytes and knows nothing of HTTP. All connections share the bandwidth of the link, in each direction.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from typing_extensions import Self

CHUNK_BYTES: Final = 16 << 10
"""Bytes that arrive together: 1.3 ms at 100 Mbit/s."""
BUFFER_SECONDS: Final = 0.2
"""Seconds of bytes that the link's sender holds before its writer has to wait, as the buffer of a router does."""
HOST: Final = "127.0.0.1"

_T = TypeVar("_T")


def megabits(number: float) -> float:
    """Return the bytes per second of a bandwidth in Mbit/s."""
    return number * 1e6 / 8


@dataclass(frozen=True, slots=True)
class Link:
    """A network link.

    Attributes:
        delay: round trip, seconds. A new connection costs one more round trip, as TCP's handshake does.
        jitter: the most seconds by which bytes of one direction may be later than that. They stay in order.
        up: bandwidth to the cloud, bytes per second.
        down: bandwidth from the cloud, bytes per second.
    """

    delay: float = 0.0
    jitter: float = 0.0
    up: float = float("inf")
    down: float = float("inf")


@dataclass(slots=True)
class _Direction:
    """One direction of the link. `free_at`: when the last byte given to it has left; `nbytes`: all that it carried."""

    rate: Callable[[], float]
    free_at: float = 0.0
    nbytes: int = 0

    def sent_at(self, nbytes: int, now: float) -> float:
        """Take bytes; return when the last of them has left."""
        self.nbytes += nbytes
        self.free_at = max(now, self.free_at) + nbytes / self.rate()
        return self.free_at


@dataclass(eq=False, slots=True)
class _Connection:
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ready_at: float
    """When the handshake is over."""
    is_lost: bool
    """Whether its bytes vanish."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Proxy:
    """Proxies of one link, in a thread. Use it in a `with`; each method may be called from any thread."""

    def __init__(self, link: Link = Link(), seed: int = 0) -> None:
        self.link = link
        self._random = random.Random(seed)
        self._up, self._down = _Direction(lambda: self.link.up), _Direction(lambda: self.link.down)
        self._connections: set[_Connection] = set()
        self._servers: dict[int, asyncio.Server | None] = {}
        self._targets: dict[int, int] = {}
        self._accepted: set[asyncio.Task[None]] = set()
        self._cut_until = 0.0
        self._is_hole = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def carried(self) -> tuple[int, int]:
        """The bytes that the link has carried, to the cloud and from the cloud."""
        return self._up.nbytes, self._down.nbytes

    def listen(self) -> int:
        """Begin to listen; return the port. Connections wait for `lead`."""
        return self._call(self._listen(0))

    def lead(self, port: int, target: int) -> None:
        """Connect a port of the proxy with a port of this machine."""
        self._targets[port] = target

    def cut(self, seconds: float) -> None:
        """Let no byte pass for so long. Connections stay, and what was sent arrives afterwards, as TCP sees to."""
        self._do(lambda: setattr(self, "_cut_until", self._loop.time() + seconds))

    def black_hole(self) -> None:
        """Let all bytes vanish, until `mend`. The connections of now stay dead after that, as behind a lost NAT entry."""

        def lose() -> None:
            self._is_hole = True
            for connection in self._connections:
                connection.is_lost = True

        self._do(lose)

    def reset(self) -> None:
        """Reset every connection. New ones are accepted."""
        self._do(self._reset_all)

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, until `mend`."""

        async def close_all() -> None:
            for port, server in self._servers.items():
                if server is not None:
                    server.close()
                    self._servers[port] = None
            self._reset_all()

        self._call(close_all())

    def mend(self) -> None:
        """End a black hole and a refusal."""

        async def again() -> None:
            self._is_hole = False
            for port, server in list(self._servers.items()):
                if server is None:
                    await self._listen(port)

        self._call(again())

    def _reset_all(self) -> None:
        for each in self._connections:
            for writer in each.writers:
                _reset(writer)

    def _do(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        self._call(act())

    def _call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _listen(self, port: int) -> int:
        server = await asyncio.start_server(self._accept, HOST, port, limit=2 * CHUNK_BYTES)
        port = server.sockets[0].getsockname()[1]
        self._servers[port] = server
        return port

    async def _close(self) -> None:
        for server in self._servers.values():
            if server is not None:
                server.close()
        for each in self._connections:
            for task in each.tasks:
                task.cancel()
        await asyncio.gather(*self._accepted)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connect(reader, writer))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._targets[port], limit=2 * CHUNK_BYTES)
        except OSError:
            await _close(writer, by_reset=True)
            return
        connection = _Connection((writer, far_writer), self._loop.time() + self.link.delay, self._is_hole)
        connection.tasks += [
            self._loop.create_task(self._carry(connection, reader, far_writer, self._up)),
            self._loop.create_task(self._carry(connection, far_reader, writer, self._down)),
        ]
        self._connections.add(connection)
        try:
            await asyncio.gather(*connection.tasks, return_exceptions=True)
        finally:
            self._connections.discard(connection)
            for each in connection.writers:
                await _close(each)

    async def _carry(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Direction
    ) -> None:
        """Carry the bytes of one direction of a connection to its end."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = self._loop.create_task(self._deliver(connection, chunks, writer))
        arrival = 0.0
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                now = max(self._loop.time(), connection.ready_at)
                late = self._random.uniform(0, self.link.jitter)
                arrival = max(arrival, way.sent_at(len(chunk), now) + self.link.delay / 2 + late)
                chunks.put_nowait((arrival, chunk))
                await self._sleep_until(way.free_at - BUFFER_SECONDS)
        except OSError:
            _reset(writer)
        except asyncio.CancelledError:
            delivery.cancel()
            raise
        chunks.put_nowait((arrival, b""))
        await delivery

    async def _deliver(
        self, connection: _Connection, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            arrival, chunk = await chunks.get()
            await self._sleep_until(arrival)
            while self._loop.time() < self._cut_until:
                await self._sleep_until(self._cut_until)
            if connection.is_lost:
                continue
            with contextlib.suppress(OSError):
                if not chunk:
                    writer.write_eof()
                    return
                writer.write(chunk)
                await writer.drain()

    async def _sleep_until(self, moment: float) -> None:
        left = moment - self._loop.time()
        if left > 0:
            await asyncio.sleep(left)


async def _close(writer: asyncio.StreamWriter, *, by_reset: bool = False) -> None:
    if by_reset:
        _reset(writer)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection by a reset."""
    connected = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
