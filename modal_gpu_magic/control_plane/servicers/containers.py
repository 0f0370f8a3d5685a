"""RPCs of containers: requests for work, and results. Each container acts on its own inputs."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.catalog.limits import BATCH_WAIT_MS
from modal_gpu_magic.control_plane.containers.setup import ROOT, address_of
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Conflict, Forbidden, NotFound, found

if TYPE_CHECKING:
    from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler
    from modal_gpu_magic.control_plane.scheduling.state import Container, Input, State

HEARTBEAT_HOLD = 14.0
"""Longest time, in seconds, that a heartbeat waits for a cancellation; the SDK times out after 15.1 s."""


_MISSED = re.compile(rf"FileNotFoundError: .*'{ROOT}/")
_HINT = (
    f"On the local backend, {ROOT} stands for the container's working directory and is no absolute path. "
    "Use a relative path, which works locally and on Modal."
)


class ContainerSide:
    """RPCs of containers."""

    def __init__(self, state: State, scheduler: Scheduler) -> None:
        self._state, self._scheduler = state, scheduler

    async def ContainerHello(self, request: Empty, peer: Container | None) -> Empty:
        """Accept the first message of a container, sent before its code is imported."""
        return Empty()

    async def ContainerHeartbeat(
        self, request: api_pb2.ContainerHeartbeatRequest, peer: Container | None
    ) -> api_pb2.ContainerHeartbeatResponse:
        """Wait for an input to cancel, so that a cancellation takes milliseconds.

        The cancellation is repeated while the input runs, because the SDK ignores it while it unpacks the input.
        """
        container = _own(peer)
        end = time.monotonic() + HEARTBEAT_HOLD
        while (left := end - time.monotonic()) > 0:
            if ids := [each.id for each in container.running.values() if each.cancelled]:
                event = known(api_pb2.CancelInputEvent, input_ids=ids)
                return known(api_pb2.ContainerHeartbeatResponse, cancel_input_event=event)
            await container.broadcast.wait(left)
        return api_pb2.ContainerHeartbeatResponse()

    async def FunctionGetInputs(
        self, request: api_pb2.FunctionGetInputsRequest, peer: Container | None
    ) -> api_pb2.FunctionGetInputsResponse:
        """Return the next inputs, or the order to exit."""
        inputs = await self._scheduler.next_inputs(
            _own(peer), max(1, request.batch_max_size), min(request.batch_linger_ms, BATCH_WAIT_MS[1]) / 1000
        )
        items = [_item(each) for each in inputs] or [api_pb2.FunctionGetInputsItem(kill_switch=True)]
        return api_pb2.FunctionGetInputsResponse(inputs=items)

    async def FunctionPutOutputs(self, request: api_pb2.FunctionPutOutputsRequest, peer: Container | None) -> Empty:
        """Accept results."""
        container = _own(peer)
        for output in request.outputs:
            if _MISSED.search(output.result.traceback):
                container.log(f"{_HINT}\n", api_pb2.FILE_DESCRIPTOR_INFO)
            self._scheduler.accept(container, output)
        self._scheduler.scale(container.function)
        return Empty()

    async def FunctionCallPutDataOut(
        self, request: api_pb2.FunctionCallPutDataRequest, peer: Container | None
    ) -> Empty:
        """Accept items of a generator from rank 0. A retry repeats numbers, which are dropped."""
        container = _own(peer)
        call = found(self._state.calls, request.function_call_id, "function call")
        if not any(each.call is call for each in container.running.values()):
            raise Forbidden(f"Container {container.id} does not run call {call.id}.")
        if container.rank == 0:
            for chunk in request.data_chunks:
                if chunk.index == len(call.chunks) + 1:
                    call.chunks.append(chunk)
                    self._state.result_bytes += chunk.ByteSize()
            call.broadcast.notify()
        return Empty()

    async def TaskResult(self, request: api_pb2.TaskResultRequest, peer: Container | None) -> Empty:
        """Record a startup error, of imports or `@enter`, which becomes the result of waiting inputs."""
        _own(peer).startup_failure = request.result
        return Empty()

    async def TaskClusterHello(
        self, request: api_pb2.TaskClusterHelloRequest, peer: Container | None
    ) -> api_pb2.TaskClusterHelloResponse:
        """Wait for all members of the cluster and return their addresses."""
        container = _own(peer)
        cluster = container.cluster
        if cluster is None:
            raise Conflict(f"Container {container.id} is not in a cluster.")
        cluster.addresses[container.rank] = request.container_ip
        cluster.broadcast.notify()
        while len(cluster.addresses) < len(cluster.members):
            await cluster.broadcast.wait()
        return known(
            api_pb2.TaskClusterHelloResponse,
            cluster_id=cluster.id,
            cluster_rank=container.rank,
            container_ips=[cluster.addresses[rank] for rank in range(len(cluster.members))],
            container_ipv4_ips=[address_of(member) for member in cluster.members],
        )

    async def ClusterGet(
        self, request: api_pb2.ClusterGetRequest, peer: Container | None
    ) -> api_pb2.ClusterGetResponse:
        """Return the members of a cluster by rank, for `modal.Cluster`."""
        cluster = found(self._state.clusters, request.cluster_id, "cluster")
        stats = known(
            api_pb2.ClusterStats,
            cluster_id=cluster.id,
            app_id=cluster.members[0].function.app.id,
            task_ids=[member.id for member in cluster.members],
            started_at=cluster.started_at,
        )
        return known(api_pb2.ClusterGetResponse, cluster=stats)

    async def FunctionGetDynamicConcurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest, peer: Container | None
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        """Return the maximum concurrency while inputs wait, else the target concurrency."""
        backlog = bool(_own(peer).function.pending)
        wanted = request.max_concurrency if backlog else request.target_concurrency
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=wanted)

    async def ContainerStop(
        self, request: api_pb2.ContainerStopRequest, peer: Container | None
    ) -> api_pb2.ContainerStopResponse:
        """Stop a container: gracefully after its inputs, else by giving its inputs to another one (preemption)."""
        container = next((each for each in self._state.containers() if each.id == request.task_id), None)
        if container is None:
            raise NotFound(f"The local control plane has no container {request.task_id!r}.")
        if peer not in (None, container):
            raise Forbidden("A container may end no container but its own.")
        if request.graceful:
            self._scheduler.drain(container)
        else:
            self._scheduler.preempt(container)
        return api_pb2.ContainerStopResponse()


def _own(peer: Container | None) -> Container:
    """Return the calling container; clients may not use these RPCs."""
    if peer is None:
        raise Forbidden("Only containers may call this RPC.")
    return peer


def _item(each: Input) -> api_pb2.FunctionGetInputsItem:
    return known(
        api_pb2.FunctionGetInputsItem,
        input_id=each.id,
        input=each.payload,
        function_call_id=each.call.id,
        retry_count=each.attempt,
        function_call_invocation_type=each.call.invocation,
    )
