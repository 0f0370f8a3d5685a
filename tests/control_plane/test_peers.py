"""Who may ask what: a container shows its own token and acts on its own inputs; frames and sizes are checked first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import modal
import pytest
from google.protobuf.message import Message
from grpclib import Status
from modal_proto import api_pb2

from tests.control_plane.odd_requests import FAULTS, Raw, framed
from tests.control_plane.plane import Plane

CREATE = api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING


class Running(NamedTuple):
    """One container: how to reach it, its task, and the call that it runs now."""

    url: str
    headers: dict[str, str]
    task: str
    call: Any

    def raw(self, headers: Mapping[str, str] | None = None) -> Raw:
        return Raw(self.url.removeprefix("unix://"), self.headers if headers is None else headers)


def who(queue: Any, hold: Any) -> None:
    """Say how the container is reached, and keep it running until something is in `hold`."""
    import os

    name = "MODAL_OVERRIDE_HEADERS"
    queue.put((os.environ["MODAL_SERVER_URL"], os.environ.get(name, ""), os.environ["MODAL_TASK_ID"]))
    hold.get()


@pytest.fixture(scope="module")
def two(client: Any) -> Iterator[list[Running]]:
    """Two containers that run one call each."""
    app = modal.App("peers")
    function: Any = app.function(serialized=True, name="f", max_containers=2)(who)
    with (
        modal.Queue.ephemeral(client=client) as queue,
        modal.Queue.ephemeral(client=client) as hold,
        app.run(client=client),
    ):
        running = []
        for _ in range(2):
            call = function.spawn(queue, hold)
            said: Any = queue.get(timeout=60)
            url, headers, task = said
            pairs = dict(pair.split(":", 1) for pair in headers.split(",") if pair)
            running.append(Running(url, {key.strip(): text.strip() for key, text in pairs.items()}, task, call))
        yield running
        hold.put_many([0, 0])


def ask(raw: Raw, name: str, request: Message | bytes) -> tuple[Status, str]:
    return asyncio.run(raw.ask(name, request))


def test_a_container_is_known_by_its_token(two: list[Running], plane: Plane) -> None:
    one, other = two
    assert one.headers
    assert one.headers != other.headers
    question = api_pb2.QueueGetOrCreateRequest(deployment_name="q", object_creation_type=CREATE)
    assert ask(one.raw(), "QueueGetOrCreate", question)[0] == Status.OK
    for headers in ({}, other.headers, Raw.client(plane.hello).headers):
        assert ask(one.raw(headers), "QueueGetOrCreate", question)[0] == Status.UNAUTHENTICATED
    api = Raw(str(plane.hello["url"]).removeprefix("unix://"), one.headers)
    assert ask(api, "QueueGetOrCreate", question)[0] == Status.UNAUTHENTICATED


def test_a_container_ends_only_itself(two: list[Running]) -> None:
    one, other = two
    status, words = ask(one.raw(), "ContainerStop", api_pb2.ContainerStopRequest(task_id=other.task))
    assert (status, "own" in words) == (Status.PERMISSION_DENIED, True)


def test_a_container_gives_items_of_its_own_call(two: list[Running]) -> None:
    one, other = two
    chunk = api_pb2.DataChunk(index=1, data=b"x")
    request = api_pb2.FunctionCallPutDataRequest(function_call_id=other.call.object_id, data_chunks=[chunk])
    assert ask(one.raw(), "FunctionCallPutDataOut", request)[0] == Status.PERMISSION_DENIED
    request.function_call_id = one.call.object_id
    assert ask(one.raw(), "FunctionCallPutDataOut", request)[0] == Status.OK


def test_a_client_is_no_container(two: list[Running], plane: Plane) -> None:
    for name, request in (
        ("FunctionGetInputs", api_pb2.FunctionGetInputsRequest()),
        ("TaskResult", api_pb2.TaskResultRequest()),
        ("FunctionCallPutDataOut", api_pb2.FunctionCallPutDataRequest(function_call_id=two[0].call.object_id)),
        ("ContainerHeartbeat", api_pb2.ContainerHeartbeatRequest()),
    ):
        assert ask(Raw.client(plane.hello), name, request)[0] == Status.PERMISSION_DENIED, name


BODY = api_pb2.QueueLenRequest(queue_id="qu-1").SerializeToString()
FRAMES = {
    "compressed": framed(BODY, compressed=1),
    "shorter than it says": framed(BODY, length=len(BODY) + 1),
    "longer than it says": framed(BODY, length=len(BODY) - 1),
    "no length": b"\0\0",
    "no message": framed(b"\xff" * 20),
    "wrong text": framed(b"\x0a\x02\xff\xfe"),
    "nothing": b"",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames(plane: Plane, frame: bytes) -> None:
    status, words = ask(Raw.client(plane.hello), "QueueLen", frame)
    assert (status, words.count(".") >= 1) == (Status.INVALID_ARGUMENT, True), words


@pytest.mark.parametrize("length", [2**32 - 1, 1 << 30])
def test_lengths(plane: Plane, length: int) -> None:
    """Refused by its length: the content is not waited for."""
    status, words = ask(Raw.client(plane.hello), "QueueLen", framed(b"x", length=length))
    assert status == Status.RESOURCE_EXHAUSTED, words
    assert status not in FAULTS
