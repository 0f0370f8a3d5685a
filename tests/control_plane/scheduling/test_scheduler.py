"""The scheduler: pools, time limits, retries, cancellation, and what the end of a container means."""

from __future__ import annotations

import asyncio

import pytest
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling.state import Scaling
from modal_gpu_magic.line.spec import GpuSpec
from tests.control_plane.scene import ASYNC, DIED, Scene, Status, scene, status_of


@scene
async def test_one_input_one_container_and_the_next_finds_it_warm() -> None:
    here = Scene()
    (first,) = here.submit()
    (container,) = here.machine.started
    assert await here.take(container) == [first]
    assert container.idle_since is None
    here.answer(container, first)
    assert status_of(first) == "SUCCESS"
    assert container.idle_since is not None
    (second,) = here.submit()
    assert await here.take(container) == [second]
    assert here.machine.started == [container]


@scene
async def test_max_containers_makes_calls_queue() -> None:
    here = Scene(max_containers=1)
    first, second = here.submit()[0], here.submit()[0]
    (container,) = here.machine.started
    assert await here.take(container) == [first]
    assert list(here.function.pending) == [second]
    here.answer(container, first)
    assert await here.take(container) == [second]


@scene
async def test_an_idle_container_leaves_after_its_window() -> None:
    here = Scene(scaledown_window=60)
    here.function.scaling = Scaling(scaledown_window=0)
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    here.answer(container, each)
    assert await here.take(container) == []
    assert container.leaving


@scene
async def test_a_shorter_window_reaches_a_container_that_is_waiting() -> None:
    here = Scene(scaledown_window=3600)
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    here.answer(container, each)
    waiting = asyncio.create_task(here.take(container))
    await asyncio.sleep(0)
    here.function.scaling = Scaling(scaledown_window=0)
    here.scheduler.scale(here.function)
    assert await waiting == []


@scene
async def test_a_batch_waits_for_company_and_not_for_ever() -> None:
    here = Scene(api_pb2.Function(batch_max_size=3))
    inputs = here.submit(2)
    (container,) = here.machine.started
    taking = asyncio.create_task(here.take(container, batch=3, linger=1.0))
    await asyncio.sleep(0)
    inputs += here.submit(1)
    assert await taking == inputs
    alone = here.submit(1)
    assert await here.take(container, batch=3, linger=0.02) == alone


@scene
async def test_the_time_limit_ends_the_input_and_its_container() -> None:
    here = Scene(api_pb2.Function(timeout_secs=1))
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    await asyncio.wait_for(here.machine.struck.wait(), 60)
    assert status_of(each) == "TIMEOUT"
    assert "timeout of 1s" in each.call.outputs[0].result.exception
    assert here.machine.killed == [container]


@scene
async def test_a_result_in_time_stops_the_clock() -> None:
    here = Scene(api_pb2.Function(timeout_secs=1))
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    here.answer(container, each)
    await asyncio.sleep(1.1)
    assert (status_of(each), here.machine.killed) == ("SUCCESS", [])


@scene
async def test_cancelling_what_waits_never_starts_it() -> None:
    here = Scene(max_containers=1)
    first, second = here.submit()[0], here.submit()[0]
    (container,) = here.machine.started
    await here.take(container)
    here.scheduler.cancel(second, "by its caller")
    assert status_of(second) == "TERMINATED"
    assert not here.function.pending
    assert not first.done
    assert here.machine.killed == []


@scene
async def test_cancelling_what_runs_tells_the_container_and_then_kills_it() -> None:
    here = Scene()
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    heard = asyncio.create_task(container.broadcast.wait(60))
    await asyncio.sleep(0)
    here.scheduler.cancel(each, "by its caller")
    assert here.machine.killed == []
    assert await heard
    assert each.cancelled
    assert status_of(each) == "TERMINATED"
    await asyncio.wait_for(here.machine.struck.wait(), 60)
    assert here.machine.killed == [container]


@scene
async def test_a_container_that_obeys_a_cancellation_lives() -> None:
    here = Scene()
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    here.scheduler.cancel(each, "by its caller")
    here.answer(container, each, Status.GENERIC_STATUS_TERMINATED)
    await asyncio.sleep(0.1)
    assert here.machine.killed == []
    assert not container.running


@pytest.mark.parametrize("cancelled_before", [False, True])
def test_terminating_kills_also_after_a_plain_cancel(cancelled_before: bool) -> None:
    async def main() -> None:
        here = Scene()
        (each,) = here.submit()
        (container,) = here.machine.started
        await here.take(container)
        if cancelled_before:
            here.scheduler.cancel(each, "by its caller")
        here.scheduler.cancel(each, "by its caller", terminate=True)
        await asyncio.sleep(0)
        assert here.machine.killed == [container]

    asyncio.run(main())


@scene
async def test_a_death_fails_what_ran_and_the_rest_gets_a_new_container() -> None:
    here = Scene(max_containers=1)
    first, second = here.submit()[0], here.submit()[0]
    (container,) = here.machine.started
    await here.take(container)
    here.scheduler.ended(container, DIED)
    assert status_of(first) == "FAILURE"
    assert len(here.machine.started) == 2
    assert await here.take(here.machine.started[1]) == [second]


@scene
async def test_a_container_that_cannot_start_fails_what_waits_once() -> None:
    here = Scene(max_containers=1)
    inputs = here.submit(3)
    (container,) = here.machine.started
    container.startup_failure = Status(status=Status.GENERIC_STATUS_FAILURE, exception="no such module")
    here.scheduler.ended(container, DIED)
    assert [each.call.outputs[each.index].result.exception for each in inputs] == ["no such module"] * 3
    assert here.machine.started == [container]


@scene
async def test_preemption_gives_the_same_attempt_to_another_container() -> None:
    here = Scene()
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    here.scheduler.preempt(container)
    await asyncio.sleep(0)
    assert not each.done
    assert await here.take(here.machine.started[-1]) == [each]
    assert (each.attempt, len(here.machine.started)) == (0, 2)
    here.answer(container, each)
    assert not each.done, "the one that was taken away has nothing to say"
    here.answer(here.machine.started[-1], each)
    assert status_of(each) == "SUCCESS"


@scene
async def test_a_spawned_call_is_tried_again_here() -> None:
    definition = api_pb2.Function()
    definition.retry_policy.retries, definition.retry_policy.initial_delay_ms = 1, 10
    here = Scene(definition)
    (each,) = here.submit(invocation=ASYNC)
    (container,) = here.machine.started
    await here.take(container)
    here.answer(container, each, Status.GENERIC_STATUS_FAILURE)
    assert not each.done
    assert await here.take(container) == [each]
    assert each.attempt == 1
    here.answer(container, each, Status.GENERIC_STATUS_FAILURE)
    assert status_of(each) == "FAILURE"


@scene
async def test_a_call_that_somebody_waits_for_is_tried_again_by_the_sdk() -> None:
    definition = api_pb2.Function()
    definition.retry_policy.retries = 5
    here = Scene(definition)
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    here.answer(container, each, Status.GENERIC_STATUS_FAILURE)
    assert status_of(each) == "FAILURE"
    here.scheduler.again(each, each.attempt + 1)
    assert (each.done, each.call.outputs) == (False, {})
    assert await here.take(container) == [each]


@scene
async def test_real_gpus_are_allotted_and_given_back() -> None:
    here = Scene(gpus=2)
    here.function.gpus = (GpuSpec("H100", 2),)
    (first,) = here.submit()
    (container,) = here.machine.started
    assert container.devices == (0, 1)
    other = here.add(api_pb2.Function())
    other.gpus = (GpuSpec("H100"),)
    await here.take(container)
    (second,) = here.submit(function=other)
    assert len(here.machine.started) == 1, "all are taken"
    here.answer(container, first)
    assert container.leaving, "an idle one makes room for who waits"
    here.scheduler.ended(container, DIED)
    assert here.machine.started[-1].devices == (0,)
    assert await here.take(here.machine.started[-1]) == [second]


@scene
async def test_the_end_of_an_app_ends_everything_in_it() -> None:
    here = Scene(max_containers=1)
    running, waiting = here.submit()[0], here.submit()[0]
    (container,) = here.machine.started
    await here.take(container)
    await here.scheduler.stop_app("ap-1")
    assert [status_of(running), status_of(waiting)] == ["TERMINATED", "TERMINATED"]
    assert here.machine.killed == [container]
    assert here.app.done
    assert here.machine.started == [container]


@scene
async def test_payloads_are_forgotten_and_results_are_counted() -> None:
    here = Scene()
    (each,) = here.submit()
    (container,) = here.machine.started
    await here.take(container)
    assert here.state.result_bytes == 0
    here.answer(container, each)
    assert each.payload == api_pb2.FunctionInput()
    assert here.state.result_bytes == each.call.result_bytes > 0
