"""Read the one message of a request: its length is checked before its content is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.control_plane.refusals import Full, Invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from grpclib.server import Stream

MESSAGE_BYTES: Final = 128 << 20
"""Most bytes of a request: a queue's partition, a value of a Dict, or a file in a message, and their keys."""

VALUES_BYTES: Final = (1 << 30) + (64 << 20)
"""Most bytes of a request with arguments or results, which the local backend sends in the message up to 1 GiB."""

_LARGE: Final[Mapping[str, int]] = dict.fromkeys(
    (
        "DictGetOrCreate",
        "DictUpdate",
        "FunctionCallPutDataOut",
        "FunctionMap",
        "FunctionPutInputs",
        "FunctionPutOutputs",
        "FunctionRetryInputs",
    ),
    VALUES_BYTES,
)
"""Limit by RPC, where the limit is not MESSAGE_BYTES."""


async def receive(name: str, stream: Stream[Any, Any]) -> Any:
    """Return the message of a request to the RPC `name`.

    Raises:
        Full: the message is larger than the RPC's limit.
        Invalid: the peer sent no message of the RPC.
    """
    limit_message(stream, _LARGE.get(name, MESSAGE_BYTES))
    try:
        request = await stream.recv_message()
    except (AssertionError, NotImplementedError):  # grpclib's, for a message that is cut off or compressed
        raise Invalid(f"{name} was sent a message that is incomplete or compressed.") from None
    if request is None:
        raise Invalid(f"{name} was sent no message.")
    return request


def limit_message(stream: Stream[Any, Any], limit: int) -> None:
    """Refuse a message of more than `limit` bytes as soon as its length is read.

    grpclib has no such limit. `_stream` is private, tested with 0.4.9: an AttributeError here says that it has gone.
    """
    inner = stream._stream
    read: Callable[[int], Awaitable[bytes]] = inner.recv_data

    async def bounded(size: int) -> bytes:
        if size > limit:
            raise Full(f"The message has {size:,} bytes; the local control plane takes {limit:,} at most.")
        return await read(size)

    inner.recv_data = bounded  # type: ignore[method-assign]  # of this one stream
