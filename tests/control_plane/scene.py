"""The scheduler against a machine in memory: containers that ask, answer and die on command."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling.gpu_pool import GpuPool
from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler
from modal_gpu_magic.control_plane.scheduling.state import App, Call, Container, Function, Input, Scaling, State, new_id

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
        self.scheduler = self.machine.scheduler = Scheduler(self.state, self.machine, GpuPool(gpus), cancel_grace=0.05)
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
        return await asyncio.wait_for(self.scheduler.next_inputs(container, batch, linger), 60)

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
