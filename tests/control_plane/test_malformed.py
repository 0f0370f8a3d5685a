"""Requests that nobody should send: each is refused with a reason, and none is called a bug of the control plane."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from grpclib.client import Channel
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientStub

from tests.control_plane.odd_requests import FAULTS, ROUTES, Raw, filled, served
from tests.control_plane.plane import Plane

SEED, ROUNDS = 7, 12


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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", served())
def test_odd_fields(plane: Plane, known: list[str], name: str) -> None:
    numbers = random.Random(f"{SEED} {name}")
    kind = ROUTES[name].request_type
    requests = [filled(kind(), numbers, known) for _ in range(ROUNDS)]

    async def ask() -> list[tuple[Status, str]]:
        raw = Raw.client(plane.hello)
        return await asyncio.gather(*(raw.ask(name, request) for request in requests))

    answers = asyncio.run(ask())
    assert [words for status, words in answers if status in FAULTS] == []


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
    status, words = asyncio.run(Raw.client(plane.hello).ask(name, request_))
    assert status in (Status.INVALID_ARGUMENT, Status.NOT_FOUND)
    assert words
    assert "bug" not in words


@pytest.mark.timeout(120)
def test_a_stranger_s_large_request_is_not_read(plane: Plane, known: list[str]) -> None:
    """Refused from the headers: the server takes no more of it than what was on its way."""
    before = peak(plane)
    request = api_pb2.QueuePutRequest(queue_id=known[2], values=[bytes(300 << 20)])

    async def send() -> Status:
        async with Channel(path=Raw.client(plane.hello).path) as channel:
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
