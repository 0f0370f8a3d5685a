"""What a definition, a mount, a Volume or a secret may not be: refused when it comes, not when a container begins."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from google.protobuf.message import Message
from grpclib import Status
from modal_proto import api_pb2

from tests.control_plane.odd_requests import Raw
from tests.control_plane.plane import Plane

CRON, PERIOD = api_pb2.Schedule.Cron, api_pb2.Schedule.Period
NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def ids(client: Any) -> Iterator[dict[str, str]]:
    """Ids of an app and a Volume that exist."""
    app = modal.App("refused")
    with modal.Volume.ephemeral(client=client) as volume, app.run(client=client):
        yield {"app_id": app.app_id or "", "volume_id": volume.object_id}


def ask(plane: Plane, name: str, request: Message) -> tuple[Status, str]:
    return asyncio.run(Raw.client(plane.hello).ask(name, request))


def defined(**fields: Any) -> api_pb2.Function:
    return api_pb2.Function(function_name="f", timeout_secs=60, **fields)


def mounted(path: str = "/vol", sub_path: str = "") -> api_pb2.Function:
    return defined(volume_mounts=[api_pb2.VolumeMount(volume_id="vo-1", mount_path=path, sub_path=sub_path)])


def scheduled(**fields: Any) -> api_pb2.Function:
    return defined(schedule=api_pb2.Schedule(**fields))


def retried(**fields: Any) -> api_pb2.Function:
    return defined(retry_policy=api_pb2.FunctionRetryPolicy(**fields))


DEFINITIONS = {
    "a relative mount path": mounted("vol"),
    "an empty mount path": mounted(""),
    "a mount path with a zero byte": mounted("/a\0b"),
    "a mount path that is too long": mounted("/" + "a" * 300),
    "the root as a mount path": mounted("/"),
    "a sub path that leaves the volume": mounted(sub_path="../../x"),
    "a sub path that leaves the volume later": mounted(sub_path="a/../../x"),
    "a sub path with a zero byte": mounted(sub_path="a\0"),
    "a sub path that is too long": mounted(sub_path="a" * 300),
    "a cron of three fields": scheduled(cron=CRON(cron_string="* * *")),
    "a cron of words": scheduled(cron=CRON(cron_string="every day at noon now")),
    "a cron out of range": scheduled(cron=CRON(cron_string="99 * * * *")),
    "a cron without end": scheduled(cron=CRON(cron_string="*/0 * * * *")),
    "a cron in no place": scheduled(cron=CRON(cron_string="* * * * *", timezone="Mars/Olympus")),
    "a cron in a file": scheduled(cron=CRON(cron_string="* * * * *", timezone="../../etc/passwd")),
    "a period that is negative": scheduled(period=PERIOD(days=-1)),
    "a period of nothing": scheduled(period=PERIOD()),
    "a period that is no number": scheduled(period=PERIOD(seconds=float("nan"))),
    "a period without end": scheduled(period=PERIOD(seconds=float("inf"))),
    "a back-off that is no number": retried(retries=3, backoff_coefficient=float("nan")),
    "a back-off without end": retried(retries=3, backoff_coefficient=1e30),
    "a back-off that is negative": retried(retries=3, backoff_coefficient=-2.0),
    "retries without end": retried(retries=2**32 - 1),
    "a wait that is too long": retried(retries=1, initial_delay_ms=2**32 - 1),
    "a batch that is too large": defined(batch_max_size=2**32 - 1),
    "a batch that waits without end": defined(batch_max_size=2, batch_linger_ms=2**63),
    "inputs without end": defined(max_concurrent_inputs=2**32 - 1),
    "a cluster without end": defined(_experimental_group_size=2**32 - 1),
}


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_definitions(plane: Plane, ids: dict[str, str], definition: api_pb2.Function) -> None:
    request = api_pb2.FunctionCreateRequest(app_id=ids["app_id"], function=definition)
    refused(*ask(plane, "FunctionCreate", request))


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": CRON(cron_string="*/15 0-6,22 * jan mon-fri", timezone="Europe/Berlin")},
        {"cron": CRON(cron_string="0 9 1 */2 7")},
        {"period": PERIOD(days=1, seconds=0.5)},
    ],
)
def test_schedules_that_are_right(plane: Plane, ids: dict[str, str], schedule: dict[str, Any]) -> None:
    request = api_pb2.FunctionCreateRequest(app_id=ids["app_id"], function=scheduled(**schedule))
    assert ask(plane, "FunctionCreate", request) == (Status.OK, "")


def test_what_was_refused_is_not_run(plane: Plane, ids: dict[str, str]) -> None:
    """A function that was announced, and then refused or not defined, has nothing to run."""
    made = asyncio.run(precreated(plane, ids["app_id"]))
    wrong = defined(_experimental_group_size=2**32 - 1)
    request = api_pb2.FunctionCreateRequest(app_id=ids["app_id"], existing_function_id=made, function=wrong)
    refused(*ask(plane, "FunctionCreate", request))
    status, words = ask(plane, "FunctionMap", api_pb2.FunctionMapRequest(function_id=made))
    assert (status, "not defined" in words) == (Status.FAILED_PRECONDITION, True)


async def precreated(plane: Plane, app_id: str) -> str:
    from grpclib.client import Channel
    from modal_proto.api_grpc import ModalClientStub

    raw = Raw.client(plane.hello)
    async with Channel(path=raw.path) as channel:
        request = api_pb2.FunctionPrecreateRequest(app_id=app_id, function_name="f")
        answer = await ModalClientStub(channel).FunctionPrecreate(request, metadata=raw.headers)
        return str(answer.function_id)


def mount(path: str, sha256: str = NOTHING) -> api_pb2.MountGetOrCreateRequest:
    return api_pb2.MountGetOrCreateRequest(files=[api_pb2.MountFile(filename=path, sha256_hex=sha256)])


def part(path: str = "x", size: int = 1, sha256: bytes = b"a" * 32, parts: int = 1) -> api_pb2.VolumePutFiles2Request:
    block = api_pb2.VolumePutFiles2Request.Block(contents_sha256=sha256)
    file = api_pb2.VolumePutFiles2Request.File(path=path, size=size, blocks=[block] * parts)
    return api_pb2.VolumePutFiles2Request(files=[file])


def secret(**values: str) -> api_pb2.SecretGetOrCreateRequest:
    return api_pb2.SecretGetOrCreateRequest(env_dict=values)


OTHERS: dict[str, Message] = {
    "MountGetOrCreate, a relative path": mount("a/b"),
    "MountGetOrCreate, no path": mount(""),
    "MountGetOrCreate, a zero byte": mount("/a\0b"),
    "MountGetOrCreate, a long name": mount("/" + "a" * 300),
    "MountGetOrCreate, no hash": mount("/a", "../../etc/passwd"),
    "MountGetOrCreate, a content that was not sent": mount("/a", "1" * 64),
    "VolumePutFiles2, more bytes than parts": part(size=2**62),
    "VolumePutFiles2, more parts than bytes": part(parts=3),
    "VolumePutFiles2, a hash that is none": part(sha256=b"a" * 300),
    "VolumePutFiles2, a path that leaves the volume": part("../x"),
    "VolumePutFiles2, a path with a zero byte": part("a\0"),
    "SecretGetOrCreate, no name": secret(**{"": "x"}),
    "SecretGetOrCreate, a name with =": secret(**{"A=B": "x"}),
    "SecretGetOrCreate, a name with a zero byte": secret(**{"A\0": "x"}),
    "SecretGetOrCreate, a value with a zero byte": secret(LD_PRELOAD="x\0"),
    "ImageGetOrCreate, a zero byte": api_pb2.ImageGetOrCreateRequest(
        image=api_pb2.Image(dockerfile_commands=["FROM base", "ENV A=b\0"])
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_others(plane: Plane, ids: dict[str, str], what: str) -> None:
    request = OTHERS[what]
    if "volume_id" in request.DESCRIPTOR.fields_by_name:
        setattr(request, "volume_id", ids["volume_id"])  # noqa: B010 - a field of some messages
    refused(*ask(plane, what.partition(",")[0], request))


def refused(status: Status, words: str) -> None:
    assert status == Status.INVALID_ARGUMENT, (status, words)
    assert words.endswith(".")
    assert not any(each in words for each in ("bug", "Error", "Traceback", "\n", "\0")), words


def one(app: modal.App, **options: Any) -> Any:
    """A function of an app that returns 1."""
    return app.function(serialized=True, name="f", **options)(lambda: 1)


def test_a_container_that_cannot_be_set_up_ends_its_calls(plane: Plane, client: Any, tmp_path: Path) -> None:
    """Nothing waits for a container whose files cannot be put in place: here, a content is lost."""
    data = tmp_path / "data"
    data.write_bytes(os.urandom(8))
    app = modal.App("cannot")
    function = one(app, image=modal.Image.debian_slim().add_local_file(data, "/root/data"))
    with app.run(client=client):
        (plane.root / "contents" / hashlib.sha256(data.read_bytes()).hexdigest()).unlink()
        with pytest.raises(modal.exception.Error, match="cannot be set up"):
            function.remote()


def test_a_container_without_a_directory_ends_its_calls(places: dict[str, str]) -> None:
    """Here, the first one's is taken. The next container starts."""
    own = Plane(places)
    try:
        (own.root / "c0").mkdir()
        app = modal.App("none")
        function = one(app)
        with app.run(client=own.client()):
            with pytest.raises(modal.exception.Error, match=r"cannot be started: .* File exists"):
                function.remote()
            assert function.remote() == 1
    finally:
        own.leave()


def test_a_wide_range_of_outputs_holds_nobody_up(plane: Plane, client: Any) -> None:
    """The server looks at the outputs that exist, not at each number of the range."""
    app = modal.App("wide")
    function = one(app)
    with app.run(client=client):
        call = function.spawn()
        call.get()
        request = api_pb2.FunctionGetOutputsRequest(function_call_id=call.object_id, start_idx=0, end_idx=2**31 - 1)
        assert ask(plane, "FunctionGetOutputs", request) == (Status.OK, "")
