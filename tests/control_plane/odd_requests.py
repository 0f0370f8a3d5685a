"""Requests that nobody should send, by the SDK's schema or byte by byte, and a peer that sends them without the SDK."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from modal_proto.api_grpc import ModalClientStub

from modal_gpu_magic.control_plane import servicers
from modal_gpu_magic.control_plane.rpc import listener

SECONDS = 1.5
"""A request that is held is given up after these."""
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**32 - 1)
REALS = (0.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e300, 5e-324)
TEXTS = (
    "",
    "x",
    "a" * 300,
    "a/" * 300,
    "../../x",
    "/",
    "\0",
    "é\U0001f600",
    "-",
    "1-0",
    "99999999999999999999",
    "-5",
    "{}",
    "0" * 64,
    "/root/../x",
    "* * * *",
)
BYTES = (b"", b"\0", b"x" * 300, b"\xff\xfe")
FAULTS = (Status.INTERNAL, Status.UNKNOWN)
"""What the control plane may not answer to any request."""
DESTRUCTIVE = frozenset(
    {
        "FunctionUpdateSchedulingParams",
        "AppStop",
        "AppClientDisconnect",
        "ContainerStop",
        "VolumeDelete",
        "QueueDelete",
        "DictDelete",
    }
)
"""RPCs that end the objects which other requests name, or start as many containers as a number says."""

COSTLY = frozenset({"min_containers", "buffer_containers", "warm_pool_size"})
"""Fields that start as many processes as they say, up to a limit."""

ROUTES = {path.rpartition("/")[2]: handler for path, handler in listener._ROUTES.items()}
"""The schema of every RPC, by its name."""


def served() -> list[str]:
    """The RPCs that the control plane answers."""
    names = set()
    for path in Path(servicers.__file__).parent.glob("*.py"):
        names |= {
            line.split("(")[0].split()[-1]
            for line in path.read_text().splitlines()
            if line.startswith("    async def ") and line.split()[2][0].isupper()
        }
    return sorted(names - DESTRUCTIVE)


def filled(message: Message, numbers: random.Random, known: list[str], depth: int = 0) -> Message:
    """The message with some of its fields set to odd values; `known` are ids of objects that exist."""
    for field in message.DESCRIPTOR.fields:
        if field.name in COSTLY or numbers.random() < 0.4 or (field.message_type and depth > 2):
            continue
        values = [value(field, numbers, known) for _ in range(numbers.choice((1, 1, 3)))]
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                continue
            target = getattr(message, field.name)
            filled(target.add() if field.is_repeated else target, numbers, known, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(values)
        else:
            setattr(message, field.name, values[0])
    return message


def value(field: Any, numbers: random.Random, known: list[str]) -> Any:
    """An odd value of a field's type."""
    if field.cpp_type == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return numbers.choice(BYTES)
        return numbers.choice(known if field.name.endswith("_id") and numbers.random() < 0.7 else TEXTS)
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return numbers.choice(REALS)
    if field.cpp_type == field.CPPTYPE_BOOL:
        return numbers.random() < 0.5
    if field.cpp_type == field.CPPTYPE_ENUM:
        return numbers.choice(list(field.enum_type.values_by_number))
    low, high = {
        field.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
        field.CPPTYPE_UINT32: (0, 2**32 - 1),
        field.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    }.get(field.cpp_type, (0, 2**63 - 1))
    return numbers.choice([number for number in NUMBERS if low <= number <= high])


def framed(body: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC frames it: one byte, the length in four bytes, the content."""
    return bytes([compressed]) + (len(body) if length is None else length).to_bytes(4, "big") + body


class Raw:
    """The protocol without the SDK: a peer at a socket, with the headers that prove who it is."""

    def __init__(self, path: str, headers: Mapping[str, str]) -> None:
        self.path, self.headers = path, headers

    @classmethod
    def client(cls, hello: Mapping[str, Any]) -> Raw:
        """The client of a control plane, by its connection details."""
        keys = ("token_id", "token_secret")
        headers = {f"x-modal-{key.replace('_', '-')}": str(hello[key]) for key in keys}
        return cls(str(hello["url"]).removeprefix("unix://"), headers)

    async def ask(self, name: str, request: Message | bytes) -> tuple[Status, str]:
        """How the server answers: OK, or its refusal. What is held for long is OK. Bytes are sent as they are."""
        async with Channel(path=self.path) as channel:
            try:
                await asyncio.wait_for(self._exchange(getattr(ModalClientStub(channel), name), request), SECONDS)
            except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
                return Status.OK, "held"
            except GRPCError as error:
                return error.status, error.message or ""
            except (ProtocolError, StreamTerminatedError) as error:
                return Status.CANCELLED, str(error)
        return Status.OK, ""

    async def _exchange(self, method: Any, request: Message | bytes) -> None:
        async with method.open(metadata=self.headers) as stream:
            if isinstance(request, bytes):
                await stream.send_request()
                await stream._stream.send_data(request, end_stream=True)
                stream._send_message_done = stream._end_done = True
            else:
                await stream.send_message(request, end=True)
            while await stream.recv_message() is not None:
                pass
