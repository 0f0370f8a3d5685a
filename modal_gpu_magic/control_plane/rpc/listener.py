"""The gRPC server: authenticates clients and containers by their headers, calls servicers, and maps refusals."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from grpclib import GRPCError, Status
from grpclib.config import Configuration
from grpclib.exceptions import StreamTerminatedError
from h2.connection import H2Connection
from h2.exceptions import StreamClosedError
from modal_proto.api_grpc import ModalClientBase

from modal_gpu_magic.control_plane import refusals
from modal_gpu_magic.control_plane.rpc.answers import answer_to
from modal_gpu_magic.control_plane.rpc.incoming import receive
from modal_gpu_magic.control_plane.rpc.odd_headers import TolerantServer
from modal_gpu_magic.control_plane.scheduling.state import Container

if TYPE_CHECKING:
    from pathlib import Path

    from grpclib.const import Handler
    from grpclib.server import Server, Stream

    from modal_gpu_magic.control_plane.rpc.credentials import Credentials

Rpc: TypeAlias = Callable[[Any, Container | None], "Awaitable[Any] | AsyncIterator[Any]"]

WINDOW = 64 << 20
"""HTTP/2 flow-control window in bytes, as in the SDK, so that arguments of many MB need few round trips."""

CLOSED_STREAMS = 1000
"""Closed streams that a connection remembers. h2 remembers 65,536: 0.6 MB in 1,000 cells."""

_FEATURES = {
    "AuthToken": "Sandboxes and calls in a chosen region",
    "PersistentSandbox": "Sandboxes",
    "Sandbox": "Sandboxes",
    "Dict": "this operation on a Dict",
    "SharedVolume": "network file systems",
    "Proxy": "proxies",
    "Tunnel": "tunnels",
    "Workspace": "workspaces",
    "FunctionGetCallGraph": "call graphs",
    "AppCountLogs": "fetching logs by time",
    "Volume": "this operation on a Volume from outside a container",
    "Image": "this operation on an Image",
    "Function": "this operation on a Function",
    "App": "this operation on an App",
}
"""Prefix of an RPC's name -> feature named in the refusal; the first match counts."""

_REPEATED = frozenset({"FunctionMap", "FunctionPutInputs", "FunctionRetryInputs", "QueuePut"})
"""RPCs that do something anew at each request."""
MOST_ANSWERS = 1_000
"""Answers of these that are kept. The SDK repeats a request within seconds."""

_log = logging.getLogger("modal_gpu_magic.control_plane")


class _Routes(ModalClientBase):
    """Used only for its table: path, message types and cardinality of every RPC of the installed SDK."""


_Routes.__abstractmethods__ = frozenset()
_ROUTES: Mapping[str, Handler] = _Routes().__mapping__()  # type: ignore[abstract]  # made concrete above


class RpcEndpoint:
    """The RPCs for one peer, which shows `credentials`: the client, or one container."""

    def __init__(
        self,
        rpcs: Mapping[str, Rpc],
        *,
        credentials: Credentials,
        peer: Container | None = None,
        on_request: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve `rpcs`; `on_request` is called at each request of the peer."""
        self._rpcs, self._credentials, self._peer, self._on_request = rpcs, credentials, peer, on_request
        self._answers: OrderedDict[str, tuple[Any, bytes]] = OrderedDict()
        """The last answers of `_REPEATED`, by the key of the request: the class and the content."""

    def __mapping__(self) -> dict[str, Handler]:
        """Return grpclib's table of handlers."""
        return {path: handler._replace(func=self._handler(path, handler)) for path, handler in _ROUTES.items()}

    def _handler(self, path: str, route: Handler) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        name = path.rpartition("/")[2]
        rpc: Any = self._rpcs.get(name) or _refusing(name, streaming=route.cardinality.server_streaming)
        streaming = route.cardinality.server_streaming

        async def handle(stream: Stream[Any, Any]) -> None:
            try:
                self._credentials.check(stream.metadata)  # before the content of a stranger's request is read
                self._on_request()
                request = await receive(name, stream)
                if streaming:
                    async for message in rpc(request, self._peer):
                        await stream.send_message(message)
                else:
                    await stream.send_message(await self._once(name, stream.metadata, rpc, request))
            except (StreamClosedError, StreamTerminatedError):
                raise asyncio.CancelledError from None  # the peer has disconnected; grpclib logs other exceptions
            except Exception as error:
                if answer := answer_to(name, error):
                    raise GRPCError(*answer) from None
                _log.exception("%s failed", name)
                raise GRPCError(Status.INTERNAL, f"A bug in the local control plane: {name}: {error!r}") from error

        return handle

    async def _once(self, name: str, metadata: Any, rpc: Any, request: Any) -> Any:
        """Answer a request; one that the SDK repeats, because the answer was lost, gets the same answer."""
        key = metadata.get("x-idempotency-key") if name in _REPEATED else None
        if key is None:
            return await rpc(request, self._peer)
        if key not in self._answers:
            answer = await rpc(request, self._peer)
            self._answers[key] = type(answer), answer.SerializeToString()  # a message takes kilobytes
            if len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)
        kind, content = self._answers[key]
        return kind.FromString(content)


def _refusing(name: str, *, streaming: bool) -> Rpc:
    """Return a handler that refuses an unsupported RPC."""

    async def refuse(*_: object) -> Any:
        raise refusals.Unsupported(unsupported(name))

    async def refuse_stream(*_: object) -> AsyncIterator[Any]:
        raise refusals.Unsupported(unsupported(name))
        yield

    return refuse_stream if streaming else refuse


def unsupported(rpc: str) -> str:
    """Return the error message for an unsupported RPC."""
    feature = next((text for prefix, text in _FEATURES.items() if rpc.startswith(prefix)), "this part of Modal")
    return f"The local backend does not support {feature} ({rpc}). Use `--backend cloud`."


async def listen(door: RpcEndpoint, path: Path) -> Server:
    """Serve `door` at a Unix socket that only this user can open."""
    H2Connection.MAX_CLOSED_STREAMS = CLOSED_STREAMS
    config = replace(Configuration(), http2_connection_window_size=WINDOW, http2_stream_window_size=WINDOW)
    server = TolerantServer([door], config=config)
    await server.start(sock=private_socket(path))
    return server


def private_socket(path: Path) -> socket.socket:
    """Return a socket of mode 0600. Does not use the umask, which all threads and children share."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):  # macOS sets modes of sockets only by path
        os.fchmod(listening.fileno(), 0o600)
    listening.bind(str(path))
    path.chmod(0o600)
    return listening


def rpcs_of(*servicers: object) -> dict[str, Rpc]:
    """Return the RPCs of servicers by name: their public methods in CamelCase."""
    return {name: getattr(servicer, name) for servicer in servicers for name in dir(servicer) if name[0].isupper()}
