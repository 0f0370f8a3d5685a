"""The scheduler against a machine in memory: containers that ask, answer and die on command."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.gpus import Rack
from modal_gpu_magic.control_plane.scheduler import Scheduler
from modal_gpu_magic.control_plane.state import App, Call, Container, Function, Input, Scaling, State, new_id
from modal_gpu_magic.line.spec import GpuSpec

SYNC = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC
ASYNC = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC
Status = api_pb2.GenericResult
DIED = Status(status=Status.GENERIC_STATUS_FAILURE, exception="died")


class Machine:
    """Containers without processes: what was started, what was killed."""

    def __init__(self) -> None:
        self.started: list[Container] = []
        self.killed: list[Container] = []
        self.struck = asyncio.Event()
        self.scheduler: Scheduler

    def start(self, container: Container) -> None:
        self.started.append(container)

    async def kill(self, container: Container, grace: float = 0.0) -> None:
        self.killed.append(container)
        self.struck.set()
        self.scheduler.ended(container, DIED)


class Scene:
    """A scheduler with one function on such a machine."""

    def __init__(self, definition: api_pb2.Function | None = None, gpus: int = 0, **scaling: int | None) -> None:
        self.state, self.machine = State(), Machine()
        self.scheduler = self.machine.scheduler = Scheduler(self.state, self.machine, Rack(gpus), cancel_grace=0.05)
        self.app = self.state.apps["ap-1"] = App("ap-1", detached=False)
        self.function = self.add(definition or api_pb2.Function(timeout_secs=60), **scaling)

    def add(self, definition: api_pb2.Function, **scaling: int | None) -> Function:
        function = Function(new_id("fu"), self.app, definition, scaling=Scaling(**scaling))  # type: ignore[arg-type]
        self.state.functions[function.id] = function
        return function

    def submit(self, count: int = 1, invocation: int = SYNC, function: Function | None = None) -> list[Input]:
        call = Call(new_id("fc"), function or self.function, invocation)
        self.state.calls[call.id] = call
        inputs = [Input(new_id("in"), call, index, api_pb2.FunctionInput(args=b"x")) for index in range(count)]
        self.scheduler.submit(inputs)
        return inputs

    async def take(self, container: Container, batch: int = 1, linger: float = 0.0) -> list[Input]:
        return await asyncio.wait_for(self.scheduler.next_inputs(container, batch, linger), 2)

    def answer(self, container: Container, each: Input, status: int = Status.GENERIC_STATUS_SUCCESS) -> None:
        result = Status(status=status, data=b"y")  # type: ignore[arg-type]  # its values are ints at run time
        item = api_pb2.FunctionPutOutputsItem(input_id=each.id, result=result, retry_count=each.attempt)
        self.scheduler.accept(container, item)
        self.scheduler.scale(container.function)


def status_of(each: Input) -> str:
    return Status.GenericStatus.Name(each.call.outputs[each.index].result.status).removeprefix("GENERIC_STATUS_")


def scene(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test on a loop of its own."""

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


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
    await asyncio.sleep(1.1)
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
    heard = asyncio.create_task(container.bell.wait(1))
    await asyncio.sleep(0)
    here.scheduler.cancel(each, "by its caller")
    assert await heard
    assert each.cancelled
    assert status_of(each) == "TERMINATED"
    assert here.machine.killed == []
    await asyncio.sleep(0.1)
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
    await asyncio.wait_for(here.machine.struck.wait(), 10)
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
    here.scheduler.scale(other)
    assert container.leaving, "an idle one makes room"
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
