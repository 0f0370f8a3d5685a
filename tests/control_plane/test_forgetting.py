"""What the control plane forgets, so that a kernel of a day costs no more than one of an hour."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import modal
from modal._utils.async_utils import synchronizer
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling.result_archive import ResultArchive
from modal_gpu_magic.control_plane.scheduling.state import APPS_KEPT, App
from modal_gpu_magic.control_plane.servicers.calls import MAX_READ_CALLS, Calls
from modal_gpu_magic.control_plane.servicers.queues import Queue
from tests.control_plane.plane import eventually
from tests.control_plane.scene import ASYNC, Scene, scene, status_of


@scene
async def test_what_is_left_of_apps_that_have_ended() -> None:
    here = Scene()
    for number in range(APPS_KEPT + 20):
        here.app = here.state.apps[f"ap-{number}"] = App(f"ap-{number}", detached=False)
        here.function = here.add(api_pb2.Function(_experimental_group_size=2))
        (each,) = here.submit()
        for container in here.machine.started[-2:]:
            await here.take(container)
        here.answer(here.machine.started[-2], each)
        assert status_of(each) == "SUCCESS"
        await here.scheduler.stop_app(here.app.id)
    state = here.state
    assert len(state.apps) <= APPS_KEPT + 1
    for table in (state.functions, state.calls, state.inputs, state.clusters):
        assert len(table) <= APPS_KEPT + 1
    assert state.result_bytes == sum(call.result_bytes for call in state.calls.values())


@scene
async def test_calls_of_a_deployed_app_whose_results_were_read() -> None:
    here = Scene()
    here.app.name = "deployed"
    archive = ResultArchive(Path(":memory:"))
    calls = Calls(here.state, here.scheduler, archive)
    read = []
    for number in range(MAX_READ_CALLS + 50):
        (each,) = here.submit(invocation=ASYNC)
        if number == 0:
            (container,) = here.machine.started
        await here.take(container)
        here.answer(container, each)
        request = api_pb2.FunctionGetOutputsRequest(function_call_id=each.call.id, max_values=1)
        read.append((request, await calls.FunctionGetOutputs(request, None)))
    assert len(here.state.calls) == len(here.state.inputs) == MAX_READ_CALLS
    assert here.state.result_bytes == sum(call.result_bytes for call in here.state.calls.values())
    for request, answer in read:
        assert await calls.FunctionGetOutputs(request, None) == answer
        asked = api_pb2.FunctionCallGetInfoRequest(function_call_id=request.function_call_id)
        info = (await calls.FunctionCallGetInfo(asked, None)).info
        assert (info.total_inputs, info.succeeded_inputs.total, info.pending_inputs.total) == (1, 1, 0)
    assert len(here.state.calls) == MAX_READ_CALLS
    archive.close()


@scene
async def test_a_cluster_that_has_ended() -> None:
    here = Scene(api_pb2.Function(_experimental_group_size=2))
    here.submit()
    assert len(here.state.clusters) == 1
    for container in list(here.machine.started):
        await here.machine.kill(container)
    assert all(any(not member.ended_at for member in each.members) for each in here.state.clusters.values())


def test_partitions_that_nobody_uses() -> None:
    """Each run that asks for input has one of its own."""
    line = Queue("qu-1", "")
    for number in range(1000):
        key = f"stdin-{number}".encode()
        with line.partition(key) as partition:
            partition.put([b"x"])
        assert key in line.partitions
        with line.partition(key) as partition:
            assert partition.take(1) == [b"x"]
    assert not line.partitions


def test_a_reader_who_only_looks_goes_on_where_a_dropped_partition_was(client: Any) -> None:
    with modal.Queue.ephemeral(client=client) as line:
        seen = []
        for number in range(3):
            line.put(number)
            seen += list(line.iterate(item_poll_timeout=0.0))
            assert line.get() == number
        assert seen == [0, 1, 2]


def test_a_partition_that_is_empty_between(client: Any) -> None:
    with modal.Queue.ephemeral(client=client) as line:
        for number in range(20):
            line.put(number, partition="p")
            assert line.get(partition="p") == number
            assert line.get(block=False, partition="p") is None
        assert line.len(total=True) == 0


def test_of_an_app_that_ended_long_ago_nothing_can_be_asked(client: Any) -> None:
    ids = []
    for _ in range(APPS_KEPT + 2):
        app = modal.App(uuid.uuid4().hex)
        with app.run(client=client):
            ids.append(app.app_id or "")
    eventually(lambda: not is_known(client, ids[0]))
    assert is_known(client, ids[-1])


def is_known(client: Any, app_id: str) -> bool:
    border: Any = synchronizer

    async def ask() -> bool:
        try:
            await border._translate_in(client)._stub.AppGetLayout(api_pb2.AppGetLayoutRequest(app_id=app_id))
        except modal.exception.NotFoundError:
            return False
        return True

    return bool(border.create_blocking(ask)())
