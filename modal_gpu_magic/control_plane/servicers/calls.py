"""Function calls from the caller's side: inputs, outputs, generator items, cancellation and progress."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.catalog.limits import MAP_OUTSTANDING
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Conflict, NotFound, entry, found, seconds
from modal_gpu_magic.control_plane.rpc.tokens import input_id_in, token_of
from modal_gpu_magic.control_plane.scheduling.result_archive import MOST_BYTES, MOST_CALLS, ResultArchive
from modal_gpu_magic.control_plane.scheduling.state import Call, Container, Input, State, new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler

MAX_READ_CALLS = 100
"""Most calls kept in memory whose results were read: a reader that lost the answer asks again soon."""

ABANDONED_SECONDS = 120.0
"""Time after which a call is cancelled whose waiting caller has disconnected, as on Modal."""

_CATEGORIES = {
    api_pb2.GenericResult.GENERIC_STATUS_SUCCESS: "succeeded_inputs",
    api_pb2.GenericResult.GENERIC_STATUS_TERMINATED: "cancelled_inputs",
    api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT: "timeout_inputs",
}
"""Status of a result -> field of FunctionCallInfo; all other statuses are failures."""


class Calls:
    """RPCs of function calls. `archive`: keeps results of deployed apps that were read."""

    def __init__(self, state: State, scheduler: Scheduler, archive: ResultArchive) -> None:
        self._state, self._scheduler, self._archive = state, scheduler, archive
        self._read: deque[Call] = deque()

    async def FunctionMap(
        self, request: api_pb2.FunctionMapRequest, peer: Container | None
    ) -> api_pb2.FunctionMapResponse:
        """Begin a call, with its input if the call has only one."""
        function = found(self._state.functions, request.function_id, "function")
        if function.app.stopped:
            raise NotFound(f"App {function.app.id} has stopped; run it again.")
        if function.removed:
            raise NotFound(f"The newest version of app {function.app.name!r} has no such function any more.")
        if not function.defined:
            raise Conflict(f"Function {function.id} is not defined.")
        call = Call(new_id("fc"), function, request.function_call_invocation_type)
        inputs = self._state.inputs if peer is None else peer.running  # a container calls for its own inputs
        if parent := inputs.get(request.parent_input_id):
            parent.children.append(call)
        self._keep(call)
        return known(
            api_pb2.FunctionMapResponse,
            function_call_id=call.id,
            pipelined_inputs=self._add(call, request.pipelined_inputs),
            function_call_jwt=call.id,
            retry_policy=function.definition.retry_policy,
            sync_client_retries_enabled=True,
            max_inputs_outstanding=MAP_OUTSTANDING,
        )

    async def FunctionPutInputs(
        self, request: api_pb2.FunctionPutInputsRequest, peer: Container | None
    ) -> api_pb2.FunctionPutInputsResponse:
        """Add inputs to a map."""
        call = self._call(request.function_call_id)
        return api_pb2.FunctionPutInputsResponse(inputs=self._add(call, request.inputs))

    async def FunctionFinishInputs(self, request: api_pb2.FunctionFinishInputsRequest, peer: Container | None) -> Empty:
        """Do nothing: the end of a `spawn_map`'s inputs has no effect locally."""
        return Empty()

    async def FunctionRetryInputs(
        self, request: api_pb2.FunctionRetryInputsRequest, peer: Container | None
    ) -> api_pb2.FunctionRetryInputsResponse:
        """Queue failed inputs again, as requested by the SDK."""
        for item in request.inputs:
            each = found(self._state.inputs, input_id_in(item.input_jwt), "input")
            each.payload = item.input
            self._scheduler.again(each, each.attempt + 1)
        return api_pb2.FunctionRetryInputsResponse(input_jwts=[item.input_jwt for item in request.inputs])

    async def FunctionGetOutputs(
        self, request: api_pb2.FunctionGetOutputsRequest, peer: Container | None
    ) -> api_pb2.FunctionGetOutputsResponse:
        """Wait for outputs: of a range of indexes, or for maps, those after an entry."""
        call = self._call(request.function_call_id)
        end = time.monotonic() + seconds(request.timeout)
        call.readers += 1
        if peer is not None:
            self._scheduler.scale(call.function)  # the calling container waits, so its slot no longer counts
        try:
            while True:
                outputs = _ready(call, request)
                left = end - time.monotonic()
                if outputs or left <= 0:
                    self._note_read(call, outputs)
                    return _outputs(call, outputs)
                await call.broadcast.wait(left)
        except asyncio.CancelledError:
            self._watch_abandoned(call)
            raise
        finally:
            call.readers -= 1

    async def FunctionCallGetDataOut(
        self, request: api_pb2.FunctionCallGetDataRequest, peer: Container | None
    ) -> AsyncIterator[api_pb2.DataChunk]:
        """Yield the items of a generator, from an index on, until the call has ended."""
        call = self._call(request.function_call_id)
        sent = request.last_index
        while True:
            while sent < len(call.chunks):
                yield call.chunks[sent]
                sent += 1
            if not call.unfinished:
                return
            await call.broadcast.wait()

    async def FunctionCallCancel(self, request: api_pb2.FunctionCallCancelRequest, peer: Container | None) -> Empty:
        """Cancel a call; with `terminate_containers`, also kill its containers."""
        for each in list(self._call(request.function_call_id).inputs.values()):
            self._scheduler.cancel(each, "by its caller", terminate=request.terminate_containers)
        return Empty()

    async def FunctionCallGetInfo(
        self, request: api_pb2.FunctionCallGetInfoRequest, peer: Container | None
    ) -> api_pb2.FunctionCallGetInfoResponse:
        """Return numbers of inputs by status."""
        call = self._call(request.function_call_id)
        counts = {"pending_inputs": call.unfinished}
        for output in call.outputs.values():
            category = _CATEGORIES.get(output.result.status, "failed_inputs")
            counts[category] = counts.get(category, 0) + 1
        info = known(
            api_pb2.FunctionCallInfo,
            function_call_id=call.id,
            created_at=call.created_at,
            total_inputs=len(call.inputs),
            **{name: api_pb2.InputCategoryInfo(total=count) for name, count in counts.items()},
        )
        return known(api_pb2.FunctionCallGetInfoResponse, info=info)

    async def FunctionCallFromId(
        self, request: api_pb2.FunctionCallFromIdRequest, peer: Container | None
    ) -> api_pb2.FunctionCallFromIdResponse:
        """Return a call for `FunctionCall.from_id`."""
        call = self._call(request.function_call_id)
        metadata = known(api_pb2.FunctionCallHandleMetadata, app_id=call.function.app.id, function_id=call.function.id)
        return known(
            api_pb2.FunctionCallFromIdResponse,
            function_call_id=call.id,
            num_inputs=len(call.inputs),
            metadata=metadata,
        )

    def _call(self, call_id: str) -> Call:
        calls = self._state.calls
        archived = None if call_id in calls else self._archive.load(call_id, self._state.functions)
        return archived or found(calls, call_id, "function call")

    def _add(
        self, call: Call, items: Iterable[api_pb2.FunctionPutInputsItem]
    ) -> list[api_pb2.FunctionPutInputsResponseItem]:
        """Queue inputs and return their ids and tokens."""
        inputs = [Input(new_id("in"), call, item.idx, item.input) for item in items]
        self._scheduler.submit(inputs)
        return [
            api_pb2.FunctionPutInputsResponseItem(
                idx=each.index, input_id=each.id, input_jwt=token_of(each.id, each.index)
            )
            for each in inputs
        ]

    def _keep(self, call: Call) -> None:
        """Store a call; drop the oldest finished ones beyond the limits."""
        calls = self._state.calls
        while len(calls) >= MOST_CALLS or self._state.result_bytes > MOST_BYTES:
            old = next((each for each in calls.values() if not each.unfinished), None)
            if old is None:
                break
            self._state.forget_call(old)
        calls[call.id] = call

    def _note_read(self, call: Call, outputs: list[api_pb2.FunctionGetOutputsItem]) -> None:
        """Note that a finished call of one input was read; drop the oldest such calls beyond the limit.

        Those of a deployed app are archived: another client may ask for them by their ids.
        """
        if call.was_read or call.unfinished or len(call.inputs) != 1 or not outputs:
            return
        if call.function.app.deployed and call.chunks:  # a generator's items are in no archive
            return
        call.was_read = True
        self._read.append(call)
        while len(self._read) > MAX_READ_CALLS:
            old = self._read.popleft()
            if old.id in self._state.calls and not old.unfinished:
                if old.function.app.deployed:
                    self._archive.store(old)
                self._state.forget_call(old)

    def _watch_abandoned(self, call: Call) -> None:
        """Cancel a call later if no caller waits any more. The SDK sends nothing when its caller is interrupted."""
        if not call.synchronous or not call.unfinished:
            return

        def cancel_if_unread() -> None:
            if not call.readers:
                for each in call.inputs.values():
                    self._scheduler.cancel(each, "its caller disconnected")

        asyncio.get_running_loop().call_later(ABANDONED_SECONDS, cancel_if_unread)


def _ready(call: Call, request: api_pb2.FunctionGetOutputsRequest) -> list[api_pb2.FunctionGetOutputsItem]:
    """Return the outputs that answer the request now."""
    if request.HasField("start_idx"):
        return [call.outputs[index] for index in sorted(call.outputs) if request.start_idx <= index <= request.end_idx]
    if request.clear_on_success:
        return []  # the last request of a map, which has all outputs
    return call.completed[entry(request.last_entry_id.partition("-")[0]) :]


def _outputs(call: Call, outputs: list[api_pb2.FunctionGetOutputsItem]) -> api_pb2.FunctionGetOutputsResponse:
    return api_pb2.FunctionGetOutputsResponse(
        outputs=outputs,
        idxs=[output.idx for output in outputs],
        last_entry_id=f"{len(call.completed)}-0",
        num_unfinished_inputs=call.unfinished,
    )
