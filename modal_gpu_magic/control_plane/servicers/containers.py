"""The API's other side: what a container asks for and reports. Who asks is known by its socket."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.containers.setup import ROOT, address_of
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Conflict, NotFound, found

if TYPE_CHECKING:
    from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler
    from modal_gpu_magic.control_plane.scheduling.state import Container, Input, State

HEARTBEAT_HOLD = 14.0
"""Seconds a heartbeat is held for news; the SDK gives up after 15.1."""


_MISSED = re.compile(rf"FileNotFoundError: .*'{ROOT}/")
_HINT = (
    f"On the local backend {ROOT} is the working directory of the container, and no absolute path: "
    "a path relative to it works here and on Modal."
)


class ContainerSide:
    """RPCs of containers."""

    def __init__(self, state: State, scheduler: Scheduler) -> None:
        self._state, self._scheduler = state, scheduler

    async def ContainerHello(self, request: Empty, peer: Container | None) -> Empty:
        """It is up, its code is not imported yet."""
        return Empty()

    async def ContainerHeartbeat(
        self, request: api_pb2.ContainerHeartbeatRequest, peer: Container | None
    ) -> api_pb2.ContainerHeartbeatResponse:
        """Held until there is an input to cancel: that makes a cancellation take milliseconds.

        It is repeated for as long as the input runs: one that comes while the SDK unpacks the input is dropped there.
        """
        container = _own(peer)
        end = time.monotonic() + HEARTBEAT_HOLD
        while (left := end - time.monotonic()) > 0:
            if ids := [each.id for each in container.running.values() if each.cancelled]:
                event = known(api_pb2.CancelInputEvent, input_ids=ids)
                return known(api_pb2.ContainerHeartbeatResponse, cancel_input_event=event)
            await container.bell.wait(left)
        return api_pb2.ContainerHeartbeatResponse()

    async def FunctionGetInputs(
        self, request: api_pb2.FunctionGetInputsRequest, peer: Container | None
    ) -> api_pb2.FunctionGetInputsResponse:
        """The next work, or word that it is time to leave."""
        inputs = await self._scheduler.next_inputs(
            _own(peer), max(1, request.batch_max_size), request.batch_linger_ms / 1000
        )
        items = [_item(each) for each in inputs] or [api_pb2.FunctionGetInputsItem(kill_switch=True)]
        return api_pb2.FunctionGetInputsResponse(inputs=items)

    async def FunctionPutOutputs(self, request: api_pb2.FunctionPutOutputsRequest, peer: Container | None) -> Empty:
        """Results."""
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
        """Items of a generator; rank 0's count. A retry repeats numbers, which are dropped."""
        container = _own(peer)
        call = found(self._state.calls, request.function_call_id, "function call")
        if container.rank == 0:
            for chunk in request.data_chunks:
                if chunk.index == len(call.chunks) + 1:
                    call.chunks.append(chunk)
                    self._state.result_bytes += chunk.ByteSize()
            call.bell.ring()
        return Empty()

    async def TaskResult(self, request: api_pb2.TaskResultRequest, peer: Container | None) -> Empty:
        """It could not start: imports or `@enter` raised. What waits for it fails with the same error."""
        _own(peer).startup_failure = request.result
        return Empty()

    async def TaskClusterHello(
        self, request: api_pb2.TaskClusterHelloRequest, peer: Container | None
    ) -> api_pb2.TaskClusterHelloResponse:
        """Wait for all members of the cluster; everyone learns everyone's address."""
        container = _own(peer)
        cluster = container.cluster
        if cluster is None:
            raise Conflict(f"Container {container.id} is not in a cluster.")
        cluster.addresses[container.rank] = request.container_ip
        cluster.bell.ring()
        while len(cluster.addresses) < len(cluster.members):
            await cluster.bell.wait()
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
        """`modal.Cluster`: its members by rank."""
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
        """As many at once as the function allows while inputs wait, else its target."""
        backlog = bool(_own(peer).function.pending)
        wanted = request.max_concurrency if backlog else request.target_concurrency
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=wanted)

    async def ContainerStop(
        self, request: api_pb2.ContainerStopRequest, peer: Container | None
    ) -> api_pb2.ContainerStopResponse:
        """Take a container away: gracefully it finishes its inputs, else another one gets them, as after preemption."""
        container = next((each for each in self._state.containers() if each.id == request.task_id), None)
        if container is None:
            raise NotFound(f"There is no container {request.task_id!r}.")
        if request.graceful:
            self._scheduler.drain(container)
        else:
            self._scheduler.preempt(container)
        return api_pb2.ContainerStopResponse()


def _own(peer: Container | None) -> Container:
    """The container that asks; clients have no business with these RPCs."""
    if peer is None:
        raise Conflict("Only a container can ask this.")
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
