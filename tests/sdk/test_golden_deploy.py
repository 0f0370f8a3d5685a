"""A deployed App, its lookup by name, and its Volume: what this package sends equals what hand-written code sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from google.protobuf.json_format import MessageToDict
from modal_proto import api_pb2

from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.sdk.app import CLUSTER, define
from modal_gpu_magic.sdk.deployed import deployed_runner
from modal_gpu_magic.sdk.files import VolumeFiles
from modal_gpu_magic.sdk.registry import Entry
from tests.control_plane.plane import stop_app
from tests.sdk.recorder import Recorder

DEPLOY = (
    "AppGetByDeploymentName",
    "AppCreate",
    "AppGetLayout",
    "FunctionPrecreate",
    "FunctionCreate",
    "ClassCreate",
    "AppPublish",
    "AppClientDisconnect",
)
LOOKUP = ("ClassGet", "FunctionGet", "FunctionBindParams", "AppGetOrCreate", "AppStop")
VOLUME = (
    "VolumeGetOrCreate",
    "VolumePutFiles2",
    "VolumeListFiles2",
    "VolumeGetFile2",
    "VolumeRemoveFile2",
    "VolumeDelete",
    "ImageGetOrCreate",
)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """One control plane for all."""
    home = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_DATA_HOME", str(home))
        with Recorder(DEPLOY + LOOKUP + VOLUME) as started:
            yield started


@pytest.fixture(autouse=True)
def nothing_recorded(recorder: Recorder) -> None:
    recorder.clear()


def by_hand(*, gpu: str = "T4", **options: Any) -> modal.App:
    """An App as Modal's guide has it: a class with one method."""
    app = modal.App()

    class Runner:
        @modal.method()
        def run(self) -> None:
            """Nothing: only its definition counts."""

    app.cls(serialized=True, gpu=gpu, max_containers=1, **options)(Runner)
    return app


def ours(gpu: str = "T4") -> modal.App:
    app = modal.App()
    define(app, Machine.of(gpu, cache=False), ())
    return app


def deployed(recorder: Recorder, app: modal.App, name: str) -> tuple[list[str], list[Any]]:
    """The RPCs of a deployment, and what they ask for, less ids, code and packages."""
    recorder.clear()
    app.deploy(name=name, client=recorder.client)
    names = [each for each in recorder.order if each in DEPLOY]
    return names, [essence(request) for each in dict.fromkeys(names) for request in recorder.requests[each]]


def essence(request: Any) -> Any:
    """What a request says about the App: ids stand for their kind."""
    kept = {
        api_pb2.AppGetByDeploymentNameRequest: ("name", "environment_name"),
        api_pb2.AppCreateRequest: ("description", "app_state", "environment_name", "tags"),
        api_pb2.AppPublishRequest: (
            "name",
            "app_state",
            "function_ids",
            "class_ids",
            "deployment_tag",
            "tags",
            "staged",
        ),
        api_pb2.FunctionPrecreateRequest: ("function_name", "existing_function_id", "function_type"),
    }.get(type(request), ())
    found = MessageToDict(request, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return [type(request).__name__, {name: kinds(found[name]) for name in kept if name in found}]


def kinds(value: Any) -> Any:
    """A value with the prefixes of ids only."""
    if isinstance(value, dict):
        return {key: kinds(each) for key, each in value.items()}
    return value[:3] if isinstance(value, str) and value[2:3] == "-" else value


@pytest.mark.parametrize("times", [1, 2], ids=["first", "again"])
def test_a_deployment(recorder: Recorder, times: int) -> None:
    mine = [deployed(recorder, ours(), f"mine-{times}") for _ in range(times)][-1]
    theirs = [deployed(recorder, by_hand(), f"mine-{times}-x") for _ in range(times)][-1]
    assert mine[0] == theirs[0]
    assert str(mine[1]) == str(theirs[1]).replace(f"mine-{times}-x", f"mine-{times}")
    published = dict(mine[1])["AppPublishRequest"]
    assert published["app_state"] == "APP_STATE_DEPLOYED"
    assert published["function_ids"] == {"Runner.*": "fu-"}
    assert published["class_ids"] == {"Runner": "cs-"}
    assert ("AppCreate" in mine[0], "AppGetLayout" in mine[0]) == (times == 1, times == 2)


def test_a_deployed_app_is_created_as_initializing(recorder: Recorder) -> None:
    deployed(recorder, ours(), "initializing")
    (created,) = recorder.requests["AppCreate"]
    assert created.app_state == api_pb2.APP_STATE_INITIALIZING
    assert not recorder.requests["AppClientDisconnect"]


def test_a_definition_is_named_by_the_deployment(recorder: Recorder) -> None:
    deployed(recorder, ours(), "definitions")
    (published,) = recorder.requests["AppPublish"]
    assert set(published.definition_ids) == set(published.function_ids.values())
    assert all(each.startswith("de-") for each in published.definition_ids.values())


def test_a_lookup(recorder: Recorder) -> None:
    asked = []
    for app, name in ((ours(), "found"), (by_hand(), "found-x")):
        app.deploy(name=name, client=recorder.client)
        recorder.clear()
        modal.Cls.from_name(name, "Runner", client=recorder.client)().run.hydrate()
        requests = [request for each in dict.fromkeys(recorder.order) for request in recorder.requests[each]]
        texts = [
            str(request).replace("found-x", "found") for request in requests if not hasattr(request, "function_id")
        ]
        asked.append((list(recorder.order), texts))
        stop_app(name, recorder.client)
    assert asked[0] == asked[1]
    assert sorted(asked[0][0]) == ["ClassGet", "FunctionGet"]


def cluster_by_hand() -> modal.App:
    """An App as Modal's guide has it: a function on two nodes."""
    app = modal.App()

    @app.function(serialized=True, name=CLUSTER, gpu="H100:8", max_containers=2)
    @modal.clustered(size=2, rdma=True)
    def run() -> None:
        """Nothing: only its definition counts."""

    return app


def test_a_cluster(recorder: Recorder) -> None:
    """Its deployment, and its lookup as an attach makes it."""
    app = modal.App()
    define(app, Machine.of("H100:8", nodes=2, cache=False, detach=True), ())
    deployments, asked = [], []
    for each, name in ((app, "wide"), (cluster_by_hand(), "wide-x")):
        order, requests = deployed(recorder, each, name)
        deployments.append((order, str(requests).replace("wide-x", "wide")))
        recorder.clear()
        if name == "wide":
            deployed_runner(Entry("s", name, machine={"nodes": 2}), recorder.client).hydrate()
        else:
            modal.Function.from_name(name, CLUSTER, client=recorder.client).hydrate()
        asked.append([str(request).replace("wide-x", "wide") for request in recorder.requests["FunctionGet"]])
        assert recorder.order == ["FunctionGet"]
        stop_app(name, recorder.client)
    assert deployments[0] == deployments[1]
    assert asked[0] == asked[1]


def test_the_volume_of_a_session(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 1000)
    (tmp_path / "large").write_bytes(bytes(range(256)) * (5 << 12))
    files = {"runs/1/small": tmp_path / "small", "runs/1/large": tmp_path / "large"}

    async def mine() -> bytes:
        volume = await VolumeFiles.open(recorder.backend, "volume-mine", create=True)
        await volume.put(files)
        listed = await volume.files("runs")
        return b"".join([piece async for piece in volume.read(listed["runs/1/large"])])

    async def by_hand() -> bytes:
        volume: Any = modal.Volume.from_name("volume-hand", create_if_missing=True, client=recorder.client)
        async with volume.batch_upload(force=True) as batch:
            for path, local in files.items():
                batch.put_file(local, f"/{path}")
        await volume.listdir.aio("/runs", recursive=True)
        return b"".join([piece async for piece in volume.read_file.aio("/runs/1/large")])

    sent = []
    for act in (mine, by_hand):
        recorder.clear()
        content = asyncio.run(act())
        assert content == (tmp_path / "large").read_bytes()
        sent.append({name: [bare(each) for each in recorder.requests[name]] for name in recorder.requests})
    assert sent[0] == sent[1]
    assert sent[0].keys() == {"VolumeGetOrCreate", "VolumePutFiles2", "VolumeListFiles2", "VolumeGetFile2"}
    for name in ("volume-mine", "volume-hand"):
        modal.Volume.objects.delete(name, client=recorder.client)
    assert len(recorder.requests["VolumeDelete"]) == 2


def bare(request: Any) -> str:
    """A request without the volume's id and name."""
    copy = type(request)()
    copy.CopyFrom(request)
    for field in ("volume_id", "deployment_name"):
        if field in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(field)
    return str(copy)
