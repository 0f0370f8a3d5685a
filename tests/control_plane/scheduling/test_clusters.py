"""Clusters: which are refused, as Modal documents it; nodes begin, fail and end together."""

from __future__ import annotations

import asyncio

import pytest
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.refusals import Invalid
from modal_gpu_magic.control_plane.scheduling.clusters import check_cluster
from modal_gpu_magic.line.spec import GpuSpec
from tests.control_plane.scene import ASYNC, DIED, Scene, Status, scene, status_of


@pytest.mark.parametrize(
    ("nodes", "specs", "rdma"),
    [
        (1, ["H100:8"], False),
        (32, ["H100:8"], True),
        (4, ["H200:8", "B300:8"], True),
        (2, ["A100:8", "A10:4", "T4:8"], False),
    ],
)
def test_what_modal_takes(nodes: int, specs: list[str], rdma: bool) -> None:
    check_cluster(nodes, [GpuSpec.parse(spec) for spec in specs], rdma=rdma)


@pytest.mark.parametrize(
    ("nodes", "specs", "rdma", "sentence"),
    [
        (2, [], False, 'needs GPUs on Modal: for example gpu="H100:8"'),
        (2, ["H100"], False, "whole nodes on Modal: H100:8, not H100"),
        (2, ["H100:8", "H100!:4"], False, "whole nodes on Modal: H100:8, not H100!:4"),
        (2, ["A10:2"], False, "whole nodes on Modal: A10:4, not A10:2"),
        (33, ["A10:4"], False, "at most 32 nodes on Modal; this one has 33"),
        (2, ["A100-80GB:8"], True, "not for A100-80GB: remove rdma=True"),
    ],
)
def test_what_modal_refuses(nodes: int, specs: list[str], rdma: bool, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        check_cluster(nodes, [GpuSpec.parse(spec) for spec in specs], rdma=rdma)


@scene
async def test_a_cluster_runs_each_input_together_and_dies_together() -> None:
    here = Scene(api_pb2.Function(_experimental_group_size=2))
    (each,) = here.submit()
    leader, other = here.machine.started
    assert leader.cluster is other.cluster
    assert (leader.rank, other.rank) == (0, 1)
    assert await here.take(leader) == [each]
    assert await here.take(other) == [each]
    here.answer(other, each)
    assert not each.done, "rank 0 answers"
    here.answer(leader, each)
    assert status_of(each) == "SUCCESS"
    here.scheduler.ended(other, DIED)
    await asyncio.sleep(0)
    assert here.machine.killed == [leader]


@scene
async def test_the_failure_of_any_rank_is_the_clusters() -> None:
    here = Scene(api_pb2.Function(_experimental_group_size=2))
    (each,) = here.submit()
    leader, other = here.machine.started
    await here.take(leader)
    await here.take(other)
    here.answer(other, each, Status.GENERIC_STATUS_FAILURE)
    assert status_of(each) == "FAILURE"
    assert [leader.leaving, other.leaving] == [True, True]
    here.submit()
    assert len(here.machine.started) == 4, "the next input has a cluster of its own"
    await asyncio.wait_for(here.machine.struck.wait(), 60)
    assert here.machine.killed == [leader]


@scene
async def test_nodes_begin_the_next_input_together() -> None:
    here = Scene(api_pb2.Function(_experimental_group_size=2))
    first, second = here.submit(2)
    leader, other = here.machine.started[:2]
    await here.take(leader)
    await here.take(other)
    here.answer(leader, first)
    asked = asyncio.create_task(here.take(leader))
    await asyncio.sleep(0)
    assert not asked.done(), "the other is still in the first"
    here.answer(other, first)
    assert await asked == [second]


@scene
async def test_one_node_is_a_cluster_too() -> None:
    here = Scene(api_pb2.Function(_experimental_group_size=1))
    here.submit()
    (alone,) = here.machine.started
    assert alone.cluster
    assert alone.cluster.members == [alone]


@scene
async def test_the_end_of_a_failed_cluster_is_not_that_of_the_next_attempt() -> None:
    policy = api_pb2.FunctionRetryPolicy(retries=1)
    here = Scene(api_pb2.Function(_experimental_group_size=2, retry_policy=policy))
    (each,) = here.submit(invocation=ASYNC)
    leader, other = here.machine.started
    await here.take(leader)
    await here.take(other)
    here.answer(other, each, Status.GENERIC_STATUS_FAILURE)
    for _ in range(100):
        await asyncio.sleep(0)
    second = here.machine.started[2]
    assert await here.take(second) == [each]
    here.scheduler.ended(leader, DIED)
    assert (each.done, each.attempt, list(here.function.pending)) == (False, 1, [])
    here.answer(second, each)
    assert status_of(each) == "SUCCESS"
