"""Scheduling of inputs to containers: pools, dispatch, timeouts, retries, cancellation, and ends of containers.

Runs on the server's event loop. `capacity` decides; the launcher manages processes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling import capacity
from modal_gpu_magic.control_plane.scheduling.state import App, Cluster, Container, Function, Input, State, new_id

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from modal_gpu_magic.control_plane.scheduling.gpu_pool import GpuPool

Status = api_pb2.GenericResult

CLUSTER_GRACE = 1.0
"""Seconds that the other nodes of a cluster have to fail with their own error after one node has failed."""

APP_GRACE = 10.0
"""Seconds that the containers of a stopped app have for their `@exit` hooks."""


class Launcher(Protocol):
    """Starts and ends the process of a container."""

    def start(self, container: Container) -> None:
        """Start the process; `Scheduler.ended` is called when the process has ended."""

    async def kill(self, container: Container, grace: float = 0.0) -> None:
        """End the process and wait; with `grace`, first request an end and wait up to `grace` seconds."""


class Scheduler:
    """Assigns inputs to containers, and starts and retires containers as needed."""

    def __init__(self, state: State, launcher: Launcher, pool: GpuPool, cancel_grace: float) -> None:
        self._state, self._launcher, self._pool = state, launcher, pool
        self._cancel_grace = cancel_grace
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # ── pools

    def scale(self, function: Function) -> None:
        """Start missing units and wake waiting containers."""
        for _ in range(capacity.missing_units(function)):
            if not self._start_unit(function):
                break
        function.broadcast.notify()

    def _start_unit(self, function: Function) -> bool:
        """Start a container or a cluster. Returns False while too few GPUs are free."""
        count = function.gpus[0].count if function.gpus else 0
        devices = self._pool.take(count, function.group_size)
        if devices is None:
            self._make_room()
            return False
        cluster = Cluster(new_id("cu")) if function.clustered else None
        for rank, own in enumerate(devices):
            container = Container(new_id("ta"), function, cluster, rank, own)
            function.containers[container.id] = container
            if cluster is not None:
                self._state.clusters[cluster.id] = cluster
                cluster.members.append(container)
            self._launcher.start(container)
        return True

    def _make_room(self) -> None:
        """Retire the container with GPUs that has been idle longest."""
        idle = [each for each in self._state.containers() if each.devices and each.idle_since and not each.leaving]
        if idle:
            self._retire(min(idle, key=lambda each: each.idle_since or 0.0))

    def _retire(self, container: Container) -> None:
        """Let an idle container, or its cluster, exit by itself, with its `@exit` hooks."""
        for member in container.cluster.members if container.cluster else (container,):
            member.leaving = True
            member.broadcast.notify()
        container.function.broadcast.notify()

    def drain(self, container: Container) -> None:
        """Let a container finish its inputs and exit (`stop_fetching_inputs`)."""
        self._retire(container)
        self.scale(container.function)

    def renew(self, function: Function) -> None:
        """Let the containers of an earlier version end what they run; what is queued goes to new ones."""
        for container in list(function.containers.values()):
            container.outdated = True
            self._retire(container)
        self.scale(function)

    # ── inputs

    def submit(self, inputs: Iterable[Input]) -> None:
        """Queue inputs."""
        functions = set()
        for each in inputs:
            self._state.inputs[each.id] = each
            each.call.inputs[each.id] = each
            each.call.function.pending.append(each)
            functions.add(each.call.function)
        for function in functions:
            self.scale(function)

    async def next_inputs(self, container: Container, batch: int, linger: float) -> list[Input]:
        """Wait for the next inputs of a container. An empty list means: exit."""
        function = container.function
        self._note_ready(container)
        while not container.leaving:
            if container.rank > 0:
                if container.inbox:
                    return self._assign(container, [container.inbox.popleft()])
                await container.broadcast.wait()
                continue
            if function.pending and capacity.together(container):
                await self._gather_batch(function, batch, linger)
                if container.leaving:
                    break
                if taken := [function.pending.popleft() for _ in range(min(batch, len(function.pending)))]:
                    return self._assign(container, taken)
            left = capacity.seconds_to_leave(container, time.monotonic())
            if left == 0.0:
                self._retire(container)
                break
            await function.broadcast.wait(left)
        return []

    def _note_ready(self, container: Container) -> None:
        """Note a container's first request for work, which ends its startup and starts its idle time."""
        if not container.ready:
            container.ready = True
            container.idle_since = time.monotonic()

    async def _gather_batch(self, function: Function, batch: int, linger: float) -> None:
        """Wait until a full batch is queued, at most `linger` seconds."""
        end = time.monotonic() + linger
        while 0 < len(function.pending) < batch and (left := end - time.monotonic()) > 0:
            await function.broadcast.wait(left)

    def _assign(self, container: Container, inputs: list[Input]) -> list[Input]:
        """Record who runs the inputs, start their timeouts, and repeat them to the rest of the cluster."""
        container.idle_since = None
        for each in inputs:
            container.running[each.id] = each
            each.members.append(container)
            limit = container.function.definition.timeout_secs
            if container.rank == 0 and limit:
                loop = asyncio.get_running_loop()
                self._timers[each.id] = loop.call_later(limit, self._time_out, each, limit)
        if container.cluster and container.rank == 0:
            for member in container.cluster.members[1:]:
                member.inbox.extend(inputs)
                member.broadcast.notify()
        if container.function.definition.single_use_containers:
            container.leaving = True
        return inputs

    # ── results

    def accept(self, container: Container, item: api_pb2.FunctionPutOutputsItem) -> None:
        """Accept a container's result. In a cluster, rank 0's result counts, or the first failure of any node."""
        each = container.running.pop(item.input_id, None)
        if not container.running:
            container.idle_since = time.monotonic()
            self._offer_gpus_of(container)
        if each is None or each.done or each.attempt != item.retry_count:
            return
        failed = item.result.status == Status.GENERIC_STATUS_FAILURE
        if failed and container.cluster:
            self._end_cluster(container)
        if failed or container.rank == 0:
            self.settle(each, item.result, container.id, item.data_format, item.input_started_at)

    def _end_cluster(self, container: Container) -> None:
        """End a cluster after a node has failed: others may wait for that node. The next input gets a new cluster."""
        self._retire(container)
        for member in container.cluster.members if container.cluster else ():
            asyncio.get_running_loop().call_later(CLUSTER_GRACE, self._kill_if_busy, member)

    def _kill_if_busy(self, container: Container) -> None:
        """Kill a node that still runs the failed input; idle nodes exit by themselves."""
        if container.running:
            self._kill(container)

    def settle(
        self,
        each: Input,
        result: api_pb2.GenericResult,
        task_id: str = "",
        data_format: int = 0,
        started_at: float = 0.0,
    ) -> None:
        """End an attempt: retry if it failed and its call allows, else pass the result to the caller."""
        if each.done:
            return
        self._stop_timer(each)
        failed = result.status in (Status.GENERIC_STATUS_FAILURE, Status.GENERIC_STATUS_TIMEOUT)
        delay = capacity.retry_delay(each) if failed else None
        if delay is not None:
            each.members = []  # their later ends must not fail the next attempt
            asyncio.get_running_loop().call_later(delay, self.again, each, each.attempt + 1)
            return
        each.done = True
        each.children.clear()
        each.payload = api_pb2.FunctionInput()  # may be large; a retry by the SDK sends it again
        output = api_pb2.FunctionGetOutputsItem(
            result=result,
            idx=each.index,
            input_id=each.id,
            data_format=data_format,  # type: ignore[arg-type]  # the stubs' enum type is an int at run time
            task_id=task_id,
            input_started_at=started_at,
            output_created_at=time.time(),
            retry_count=each.attempt,
        )
        each.call.outputs[each.index] = output
        each.call.completed.append(output)
        self._state.result_bytes += output.ByteSize()
        each.call.broadcast.notify()

    def again(self, each: Input, attempt: int) -> None:
        """Queue an input again: as a retry, or the same attempt after its container was preempted."""
        if each.cancelled or each.call.function.app.stopped:
            return
        self._stop_timer(each)
        each.call.outputs.pop(each.index, None)
        each.done, each.attempt, each.members = False, attempt, []
        each.call.function.pending.appendleft(each)
        self.scale(each.call.function)

    def _stop_timer(self, each: Input) -> None:
        """Cancel the timeout of an attempt that has ended."""
        if timer := self._timers.pop(each.id, None):
            timer.cancel()

    def _time_out(self, each: Input, limit: int) -> None:
        """Apply the function's `timeout`; the container ends with the input, as on Modal."""
        members = list(each.members)
        text = f"Task's current input {each.id} hit its timeout of {limit}s"
        task_id = members[0].id if members else ""
        self.settle(each, api_pb2.GenericResult(status=Status.GENERIC_STATUS_TIMEOUT, exception=text), task_id)
        for member in members:
            self._kill(member)

    # ── cancellation

    def cancel(self, each: Input, reason: str, *, terminate: bool = False) -> None:
        """End an input for its caller at once. Notify its container, and kill it if it still runs the input later.

        `terminate` kills the container now, also if the input was cancelled before and still runs.
        """
        holders = [member for member in each.members if each.id in member.running]
        if not each.done:
            each.cancelled = True
            if each in each.call.function.pending:
                each.call.function.pending.remove(each)
            text = f"Input {each.id} was cancelled ({reason})"
            self.settle(each, api_pb2.GenericResult(status=Status.GENERIC_STATUS_TERMINATED, exception=text))
            for member in holders:
                member.broadcast.notify()
                asyncio.get_running_loop().call_later(self._cancel_grace, self._kill_if_in, member, each)
        if terminate:
            for member in holders:
                self._kill(member)

    def _kill_if_in(self, container: Container, each: Input) -> None:
        """Kill a container whose code ignored the cancellation."""
        if each.id in container.running and each.cancelled:
            self._kill(container)

    def _kill(self, container: Container, grace: float = 0.0) -> None:
        """Kill a container in the background; it takes no more work."""
        container.leaving = True
        container.function.broadcast.notify()
        task = asyncio.get_running_loop().create_task(self._launcher.kill(container, grace))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── ends

    def preempt(self, container: Container) -> None:
        """Kill a container and give its inputs to another one, as Modal does."""
        for each in list(container.running.values()):
            for member in each.members:
                member.running.pop(each.id, None)
            if not each.done:
                self.again(each, each.attempt)
        self._kill(container)

    def ended(self, container: Container, result: api_pb2.GenericResult) -> None:
        """Handle the end of a container's process. `result` becomes the result of its running inputs."""
        function = container.function
        on_purpose = container.leaving and container.startup_failure is None
        container.leaving, container.ended_at = True, time.time()
        function.containers.pop(container.id, None)
        self._pool.give_back(container.devices)
        for each in list(container.running.values()):
            if container in each.members:
                self.settle(each, container.startup_failure or result, container.id)
        container.running.clear()
        cluster = container.cluster
        for member in cluster.members if cluster else ():
            if member.ended_at is None and (member.running or not member.leaving):
                self._kill(member)  # the members of a cluster end together
        if cluster and all(member.ended_at for member in cluster.members):
            self._state.clusters.pop(cluster.id, None)
        if container.ready or on_purpose or container.outdated:
            self.scale(function)
        else:
            self._fail_waiting(container, container.startup_failure or result)
        self._offer_gpus_of(container)
        function.app.log.broadcast.notify()  # who waits for the app's end looks at its containers again

    def _offer_gpus_of(self, container: Container) -> None:
        """Let all functions scale when a container with GPUs has ended or become idle."""
        for other in self._state.functions.values() if container.devices else ():
            self.scale(other)

    def _fail_waiting(self, container: Container, result: api_pb2.GenericResult) -> None:
        """Fail the queued inputs of a function whose container cannot start, instead of retrying without end."""
        pending = container.function.pending
        while pending and not any(other.ready for other in container.function.live):
            self.settle(pending.popleft(), result, container.id)

    def stop_app(self, app_id: str, grace: float = APP_GRACE) -> Coroutine[Any, Any, None]:
        """Stop an app at once: its name is free, and its inputs are terminated.

        Returns:
            What lets its containers run `@exit`, and completes its log.
        """
        app = self._state.apps[app_id]
        if app.stopped:
            return _nothing()
        app.stopped_at = time.time()
        functions = [function for function in self._state.functions.values() if function.app is app]
        for function in functions:
            function.pending.clear()
        for each in list(self._state.inputs.values()):
            if each.call.function.app is app and not each.done:
                text = "The app was stopped"
                each.cancelled = True
                self.settle(each, api_pb2.GenericResult(status=Status.GENERIC_STATUS_TERMINATED, exception=text))
        containers = [container for function in functions for container in function.containers.values()]
        for container in containers:
            self._retire(container)
        return self._complete(app, containers, grace)

    async def _complete(self, app: App, containers: list[Container], grace: float) -> None:
        """Wait for the end of a stopped app's containers."""
        await asyncio.gather(*(self._launcher.kill(container, grace) for container in containers))
        app.done = True
        app.log.broadcast.notify()
        self._state.forget_ended()


async def _nothing() -> None:
    """Wait for nothing."""
