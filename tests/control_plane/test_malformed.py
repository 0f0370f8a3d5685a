"""Requests that nobody should send: each is refused with a reason, and none is called a bug of the control plane."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from grpclib.client import Channel
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientStub

from modal_gpu_magic.control_plane.rpc import listener
from tests.control_plane.plane import Plane

SEED, ROUNDS = 7, 12
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
)
BYTES = (b"", b"\0", b"x" * 300, b"\xff\xfe")
# What ends the objects that the other requests name, or starts as many containers as a number says.
DESTRUCTIVE = {
    "FunctionUpdateSchedulingParams",
    "AppStop",
    "AppClientDisconnect",
    "ContainerStop",
    "VolumeDelete",
    "QueueDelete",
    "DictDelete",
}


@pytest.fixture(scope="module")
def known(client: Any) -> Iterator[list[str]]:
    """Ids of objects that exist, so that a request gets past the first look."""
    app = modal.App("malformed")
    function: Any = app.function(serialized=True, name="f")(lambda: 1)
    with (
        modal.Queue.ephemeral(client=client) as queue,
        modal.Dict.ephemeral(client=client) as kept,
        modal.Volume.ephemeral(client=client) as volume,
        app.run(client=client),
    ):
        yield [app.app_id or "", function.object_id, queue.object_id, kept.object_id, volume.object_id]


def filled(message: Message, random: random.Random, known: list[str], depth: int = 0) -> Message:
    """The message with some of its fields set to odd values."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.4 or (field.message_type and depth > 2):
            continue
        values = [value(field, random, known) for _ in range(random.choice((1, 1, 3)))]
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                continue
            target = getattr(message, field.name)
            filled(target.add() if field.is_repeated else target, random, known, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(values)
        else:
            setattr(message, field.name, values[0])
    return message


def value(field: Any, random: random.Random, known: list[str]) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return random.choice(BYTES)
        return random.choice(known if field.name.endswith("_id") and random.random() < 0.7 else TEXTS)
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return random.choice(REALS)
    if field.cpp_type == field.CPPTYPE_BOOL:
        return random.random() < 0.5
    if field.cpp_type == field.CPPTYPE_ENUM:
        return random.choice(list(field.enum_type.values_by_number))
    low, high = {
        field.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
        field.CPPTYPE_UINT32: (0, 2**32 - 1),
        field.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    }.get(field.cpp_type, (0, 2**63 - 1))
    return random.choice([number for number in NUMBERS if low <= number <= high])


class Raw:
    """The protocol without the SDK."""

    def __init__(self, plane: Plane, *, token: bool = True) -> None:
        self.path = plane.hello["url"].removeprefix("unix://")
        keys = ("token_id", "token_secret")
        self.metadata = {f"x-modal-{key.replace('_', '-')}": plane.hello[key] for key in keys} if token else {}

    async def _exchange(self, method: Any, request: Any) -> None:
        async with method.open(metadata=self.metadata) as stream:
            await stream.send_message(request, end=True)
            while await stream.recv_message() is not None:
                pass

    async def ask(self, name: str, request: Any) -> tuple[Status, str]:
        """How the server answers: OK, or its refusal. What is held for long is OK."""
        async with Channel(path=self.path) as channel:
            method = getattr(ModalClientStub(channel), name)
            try:
                await asyncio.wait_for(self._exchange(method, request), SECONDS)
            except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
                return Status.OK, "held"
            except GRPCError as error:
                return error.status, error.message or ""
        return Status.OK, ""


def served() -> list[str]:
    """The RPCs that the control plane answers."""
    from modal_gpu_magic.control_plane import servicers

    names = set()
    for path in Path(servicers.__file__).parent.glob("*.py"):
        names |= {
            line.split("(")[0].split()[-1]
            for line in path.read_text().splitlines()
            if line.startswith("    async def ") and line.split()[2][0].isupper()
        }
    return sorted(names - DESTRUCTIVE)


ROUTES = {path.rpartition("/")[2]: handler for path, handler in listener._ROUTES.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", served())
def test_odd_fields(plane: Plane, known: list[str], name: str) -> None:
    numbers = random.Random(f"{SEED} {name}")
    kind = ROUTES[name].request_type
    requests = [filled(kind(), numbers, known) for _ in range(ROUNDS)]

    async def ask() -> list[tuple[Status, str]]:
        raw = Raw(plane)
        return await asyncio.gather(*(raw.ask(name, request) for request in requests))

    answers = asyncio.run(ask())
    assert [words for status, words in answers if status in (Status.INTERNAL, Status.UNKNOWN)] == []


@pytest.mark.parametrize(
    "name, request_",
    [
        ("AppFetchLogs", api_pb2.AppFetchLogsRequest(since=Timestamp(seconds=2**62), until=Timestamp(seconds=2**62))),
        ("AppFetchLogs", api_pb2.AppFetchLogsRequest(since=Timestamp(nanos=-5))),
        ("AppGetLogs", api_pb2.AppGetLogsRequest(last_entry_id="x")),
        ("AppGetLogs", api_pb2.AppGetLogsRequest(timeout=float("inf"))),
        ("QueueNextItems", api_pb2.QueueNextItemsRequest(last_entry_id="1.5")),
        ("QueueNextItems", api_pb2.QueueNextItemsRequest(item_poll_timeout=float("nan"))),
        ("QueueGet", api_pb2.QueueGetRequest(timeout=float("inf"))),
        ("VolumeListFiles2", api_pb2.VolumeListFiles2Request(path="a" * 300)),
        ("VolumeListFiles2", api_pb2.VolumeListFiles2Request(path="a\0b")),
    ],
)
def test_what_is_said(plane: Plane, known: list[str], name: str, request_: Any) -> None:
    app, _, queue, _, volume = known
    for field, each in (("app_id", app), ("queue_id", queue), ("volume_id", volume)):
        if field in request_.DESCRIPTOR.fields_by_name:
            setattr(request_, field, each)
    status, words = asyncio.run(Raw(plane).ask(name, request_))
    assert status in (Status.INVALID_ARGUMENT, Status.NOT_FOUND)
    assert words
    assert "bug" not in words


@pytest.mark.timeout(120)
def test_a_stranger_s_large_request_is_not_read(plane: Plane, known: list[str]) -> None:
    """Refused from the headers: the server takes no more of it than what was on its way."""
    before = peak(plane)
    request = api_pb2.QueuePutRequest(queue_id=known[2], values=[bytes(300 << 20)])

    async def send() -> Status:
        async with Channel(path=Raw(plane).path) as channel:
            try:
                async with ModalClientStub(channel).QueuePut.open(metadata={}) as stream:
                    await stream.send_message(request, end=True)
                    await stream.recv_message()
            except GRPCError as error:
                return error.status
            except (OSError, asyncio.CancelledError):
                return Status.UNAUTHENTICATED
        return Status.OK

    assert asyncio.run(send()) == Status.UNAUTHENTICATED
    assert peak(plane) - before < 150 << 20


def peak(plane: Plane) -> int:
    """The most memory that the server has had, bytes."""
    status = Path(f"/proc/{plane.process.pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
