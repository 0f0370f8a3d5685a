"""The gRPC server: authenticates clients by token and containers by socket, calls servicers, and maps refusals."""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf.message import DecodeError
from grpclib import GRPCError, Status
from grpclib.config import Configuration
from grpclib.exceptions import StreamTerminatedError
from grpclib.server import Server, Stream
from h2.connection import H2Connection
from h2.exceptions import StreamClosedError
from modal_proto.api_grpc import ModalClientBase

from modal_gpu_magic.control_plane import refusals
from modal_gpu_magic.control_plane.scheduling.state import Container

if TYPE_CHECKING:
    from pathlib import Path

    from grpclib.const import Handler

Rpc: TypeAlias = Callable[[Any, Container | None], "Awaitable[Any] | AsyncIterator[Any]"]

WINDOW = 64 << 20
"""HTTP/2 flow-control window in bytes, as in the SDK, so that arguments of many MB need few round trips."""

CLOSED_STREAMS = 1000
"""Closed streams that a connection remembers. h2 remembers 65,536: 0.6 MB in 1,000 cells."""

_STATUS: Mapping[type[refusals.Refusal], Status] = {
    refusals.NotFound: Status.NOT_FOUND,
    refusals.Invalid: Status.INVALID_ARGUMENT,
    refusals.Exists: Status.ALREADY_EXISTS,
    refusals.Conflict: Status.FAILED_PRECONDITION,
    refusals.Full: Status.RESOURCE_EXHAUSTED,
    refusals.Unauthorized: Status.UNAUTHENTICATED,
    refusals.Unsupported: Status.UNIMPLEMENTED,
}

_FEATURES = {
    "Sandbox": "Sandboxes",
    "Dict": "this operation on a Dict",
    "SharedVolume": "network file systems",
    "Proxy": "proxies",
    "Tunnel": "tunnels",
    "Workspace": "workspaces",
    "FunctionGetCallGraph": "call graphs",
    "FunctionGet": "deployed functions",
    "ClassGet": "deployed classes",
    "AppGetByDeploymentName": "deployed apps",
    "AppGetOrCreate": "looking up apps by name",
    "AppCountLogs": "fetching logs by time",
    "Volume": "this operation on a Volume from outside a container",
    "Image": "this operation on an Image",
    "Function": "this operation on a Function",
    "App": "this operation on an App",
}
"""Prefix of an RPC's name -> feature named in the refusal; the first match counts."""

_log = logging.getLogger("modal_gpu_magic.control_plane")


class _Routes(ModalClientBase):
    """Used only for its table: path, message types and cardinality of every RPC of the installed SDK."""


_Routes.__abstractmethods__ = frozenset()
_ROUTES: Mapping[str, Handler] = _Routes().__mapping__()  # type: ignore[abstract]  # made concrete above


@dataclass(frozen=True, slots=True)
class Token:
    """Credentials that a client must send."""

    id: str
    secret: str

    def check(self, metadata: Any) -> None:
        """Raise Unauthorized unless the request has this token; constant time."""
        same_id = _same(metadata.get("x-modal-token-id"), self.id)
        same_secret = _same(metadata.get("x-modal-token-secret"), self.secret)
        if not (same_id and same_secret):
            raise refusals.Unauthorized("The token is not valid for this local control plane.")


def _same(shown: object, right: str) -> bool:
    return hmac.compare_digest(str(shown).encode(), right.encode())


class RpcEndpoint:
    """The RPCs for one peer: the client, authenticated by token, or one container, known by its socket."""

    def __init__(self, rpcs: Mapping[str, Rpc], *, token: Token | None = None, peer: Container | None = None) -> None:
        self._rpcs, self._token, self._peer = rpcs, token, peer

    def __mapping__(self) -> dict[str, Handler]:
        """Return grpclib's table of handlers."""
        return {path: handler._replace(func=self._handler(path, handler)) for path, handler in _ROUTES.items()}

    def _handler(self, path: str, route: Handler) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        name = path.rpartition("/")[2]
        rpc: Any = self._rpcs.get(name) or _refusing(name, streaming=route.cardinality.server_streaming)
        streaming = route.cardinality.server_streaming

        async def handle(stream: Stream[Any, Any]) -> None:
            try:
                if self._token is not None:
                    self._token.check(stream.metadata)  # the headers alone: nothing of a stranger's request is read
                request = await _request(stream)
                if streaming:
                    async for message in rpc(request, self._peer):
                        await stream.send_message(message)
                else:
                    await stream.send_message(await rpc(request, self._peer))
            except refusals.Refusal as refusal:
                raise GRPCError(_STATUS[type(refusal)], str(refusal)) from None
            except (StreamClosedError, StreamTerminatedError):
                raise asyncio.CancelledError from None  # the peer has disconnected; grpclib logs other exceptions
            except Exception as error:
                if _is_malformed(error):
                    raise GRPCError(Status.INVALID_ARGUMENT, f"{name} cannot be asked like that: {error}") from None
                _log.exception("%s failed", name)
                raise GRPCError(Status.INTERNAL, f"A bug in the local control plane: {name}: {error!r}") from error

        return handle


async def _request(stream: Stream[Any, Any]) -> Any:
    """The one message that a client sends."""
    request = await stream.recv_message()
    if request is None:
        raise refusals.Invalid("The request has no message.")
    return request


_PATHS = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR})
"""What the system says of a path that cannot be."""


def _is_malformed(error: Exception) -> bool:
    """Whether an error says that the request cannot be right: a number out of range, a path that cannot be."""
    return isinstance(error, ValueError | OverflowError | DecodeError) or getattr(error, "errno", None) in _PATHS


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
    server = Server([door], config=config)
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
