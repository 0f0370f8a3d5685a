"""How many containers there should be, as tables of situations. No processes, no clock."""

from __future__ import annotations

import pytest
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling import capacity
from modal_gpu_magic.control_plane.scheduling.state import App, Call, Cluster, Container, Function, Input, Scaling

SYNC = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC
ASYNC = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC


def situation(
    pending: int = 0,
    running: tuple[int, ...] = (),
    *,
    slots: int = 1,
    group: int = 1,
    leaving: int = 0,
    **scaling: int | None,
) -> Function:
    """A function with `pending` inputs, and a unit for each number in `running` that has so many inputs."""
    definition = api_pb2.Function(max_concurrent_inputs=slots, _experimental_group_size=group)
    function = Function("fu-1", App("ap-1", detached=False), definition, scaling=Scaling(**scaling))  # type: ignore[arg-type]
    call = Call("fc-1", function, SYNC)
    for number in range(pending):
        function.pending.append(Input(f"in-p{number}", call, number, api_pb2.FunctionInput()))
    for unit, inputs in enumerate(running):
        cluster = Cluster(f"cu-{unit}") if group > 1 else None
        for rank in range(group):
            container = Container(f"ta-{unit}-{rank}", function, cluster, rank, leaving=unit < leaving)
            for number in range(inputs):
                container.running[f"in-{unit}-{number}"] = Input(f"in-{unit}", call, 0, api_pb2.FunctionInput())
            if not inputs:
                container.idle_since = 100.0
            function.containers[container.id] = container
    return function


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (situation(), 0),
        (situation(1), 1),
        (situation(3), 3),
        (situation(3, max_containers=1), 1),
        (situation(3, (0,)), 2),
        (situation(1, (0,)), 0),
        (situation(1, (1,)), 1),
        (situation(1, (1,), max_containers=1), 0),
        (situation(5, slots=4), 2),
        (situation(5, (1,), slots=4), 1),
        (situation(3, (1,), slots=4), 0),
        (situation(1, (0,), leaving=1), 1),
        (situation(1, (0,), leaving=1, max_containers=1), 1),
        (situation(1, (1,), leaving=1, max_containers=1), 0),
        (situation(min_containers=2), 2),
        (situation(0, (0,), min_containers=2), 1),
        (situation(min_containers=3, max_containers=2), 2),
        (situation(buffer_containers=2), 0),
        (situation(0, (1,), buffer_containers=2), 2),
        (situation(1, buffer_containers=1), 2),
        (situation(2, group=4, max_containers=8), 2),
        (situation(2, group=4, max_containers=4), 1),
        (situation(1, (0,), group=4, max_containers=8), 0),
        (situation(1000), capacity.LOCAL_CONTAINERS),
    ],
)
def test_missing_units(function: Function, missing: int) -> None:
    assert capacity.missing_units(function) == missing


def test_a_stopped_app_gets_nothing() -> None:
    function = situation(3)
    function.app.stopped_at = 1.0
    assert capacity.missing_units(function) == 0


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (situation(0, (0,), scaledown_window=60), 50.0),
        (situation(0, (0,), scaledown_window=5), 0.0),
        (situation(0, (1,), scaledown_window=5), None),
        (situation(0, (0,), min_containers=1, scaledown_window=5), None),
        (situation(0, (0, 0), min_containers=1, scaledown_window=5), 0.0),
        (situation(0, (0, 1), buffer_containers=1, scaledown_window=5), None),
        (situation(0, (0, 0, 1), buffer_containers=1, scaledown_window=5), 0.0),
    ],
)
def test_seconds_to_leave(function: Function, left: float | None) -> None:
    first = next(iter(function.containers.values()))
    assert capacity.seconds_to_leave(first, now=110.0) == left


def test_a_container_that_never_was_idle_stays() -> None:
    function = situation(0, (0,))
    first = next(iter(function.containers.values()))
    first.idle_since = None
    assert capacity.seconds_to_leave(first, now=1e9) is None


@pytest.mark.parametrize(
    ("invocation", "attempt", "cancelled", "delay"),
    [
        (ASYNC, 0, False, 1.0),
        (ASYNC, 1, False, 2.0),
        (ASYNC, 2, False, 3.0),  # 4 s, but for the maximum
        (ASYNC, 3, False, None),
        (ASYNC, 0, True, None),
        (SYNC, 0, False, None),
    ],
)
def test_retry_delay(invocation: int, attempt: int, cancelled: bool, delay: float | None) -> None:
    function = situation()
    policy = function.definition.retry_policy
    policy.retries, policy.initial_delay_ms, policy.backoff_coefficient, policy.max_delay_ms = 3, 1000, 2.0, 3000
    call = Call("fc-1", function, invocation)
    each = Input("in-1", call, 0, api_pb2.FunctionInput(), attempt=attempt, cancelled=cancelled)
    assert capacity.retry_delay(each) == delay


def test_units_that_wait_for_their_own_calls_do_not_count() -> None:
    """A function that calls itself, or another that calls it, does not wait for ever."""
    function = situation(1, (1,) * capacity.LOCAL_CONTAINERS)
    assert capacity.missing_units(function) == 0
    child = Call("fc-2", function, SYNC)
    child.inputs["in-c"] = Input("in-c", child, 0, api_pb2.FunctionInput())
    (waiting,) = next(iter(function.containers.values())).running.values()
    waiting.children.append(child)
    assert capacity.missing_units(function) == 1
    child.invocation = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC
    assert capacity.missing_units(function) == 0, "spawned, and nobody waits"
    child.readers = 1
    assert capacity.missing_units(function) == 1
    child.inputs["in-c"].done = True
    assert capacity.missing_units(function) == 0
