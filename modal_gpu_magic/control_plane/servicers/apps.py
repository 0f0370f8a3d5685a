"""Apps: creation, heartbeats, end and logs; also environments and the connection of clients."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Conflict, Unsupported, count, entry, found, moment, seconds
from modal_gpu_magic.control_plane.scheduling.state import App, Container, State, new_id
from modal_gpu_magic.control_plane.servicers.deployments import ENVIRONMENT, page_of
from modal_gpu_magic.control_plane.servicers.functions import layout_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler

BUILDER_VERSION = "2025.06"
"""Image builder version reported to the SDK, which must know it. The version must support all Pythons of the SDK."""

HEARTBEAT_LIMIT = 300.0
"""Seconds without a heartbeat after which an ephemeral app is stopped. Its client sends one every 15 s."""


class Apps:
    """RPCs of apps, environments and clients."""

    def __init__(self, state: State, scheduler: Scheduler, *, detachable: bool) -> None:
        self._state, self._scheduler, self._detachable = state, scheduler, detachable
        self._stopping: set[asyncio.Task[None]] = set()

    async def ClientHello(self, request: Empty, peer: Container | None) -> api_pb2.ClientHelloResponse:
        """`client.hello()`: succeeds if the token is right."""
        return known(api_pb2.ClientHelloResponse, image_builder_version=BUILDER_VERSION)

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        """Return the only environment, whatever name is requested."""
        settings = known(api_pb2.EnvironmentSettings, image_builder_version=BUILDER_VERSION)
        metadata = known(api_pb2.EnvironmentMetadata, name=request.deployment_name or ENVIRONMENT, settings=settings)
        return known(api_pb2.EnvironmentGetOrCreateResponse, environment_id="en-local", metadata=metadata)

    async def AppCreate(self, request: api_pb2.AppCreateRequest, peer: Container | None) -> api_pb2.AppCreateResponse:
        """Create an app for `app.run()`, or one that the client will deploy."""
        detached = request.app_state == api_pb2.APP_STATE_DETACHED
        if detached and not self._detachable:
            raise Unsupported(
                "The local backend stops together with its command, so an app cannot be detached. "
                "Run it without --detach, or on Modal."
            )
        initializing = request.app_state == api_pb2.APP_STATE_INITIALIZING
        app = App(new_id("ap"), detached, request.description, initializing=initializing, tags=dict(request.tags))
        self._state.apps[app.id] = app
        return known(api_pb2.AppCreateResponse, app_id=app.id, app_page_url=page_of(app))

    async def AppHeartbeat(self, request: api_pb2.AppHeartbeatRequest, peer: Container | None) -> Empty:
        """Record that the client is alive."""
        app = self._app(request.app_id)
        if app.stopped:
            raise Conflict(f"App {app.id} has been stopped.")
        app.heartbeat_at = time.monotonic()
        return Empty()

    async def AppGetLayout(
        self, request: api_pb2.AppGetLayoutRequest, peer: Container | None
    ) -> api_pb2.AppGetLayoutResponse:
        """Return the app's functions and classes by tag."""
        return api_pb2.AppGetLayoutResponse(app_layout=layout_of(self._state, self._app(request.app_id)))

    async def AppClientDisconnect(self, request: api_pb2.AppClientDisconnectRequest, peer: Container | None) -> Empty:
        """End `app.run()`, or a deployment that failed: stop the app in the background. Others continue."""
        app = self._app(request.app_id)
        if not app.outlives_client:
            self._stop(app)
        return Empty()

    async def AppStop(self, request: api_pb2.AppStopRequest, peer: Container | None) -> Empty:
        """Stop an app of either kind."""
        self._stop(self._app(request.app_id))
        return Empty()

    async def AppGetLogs(
        self, request: api_pb2.AppGetLogsRequest, peer: Container | None
    ) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        """Follow the log from an entry on, for at most `timeout` seconds or until the app ends."""
        app = self._app(request.app_id)
        seen, end = entry(request.last_entry_id), time.monotonic() + seconds(request.timeout)
        while True:
            for batch in app.log.after(seen):
                seen = int(batch.entry_id)
                if _wanted(request, batch):
                    yield batch
            if seen < app.log.count:
                continue
            if app.done:
                yield api_pb2.TaskLogsBatch(app_done=True, eof=True)
                return
            left = end - time.monotonic()
            if left <= 0 or not await app.log.broadcast.wait(left):
                return

    async def AppFetchLogs(
        self, request: api_pb2.AppFetchLogsRequest, peer: Container | None
    ) -> api_pb2.AppFetchLogsResponse:
        """Return the newest kept entries of a period, at most `limit`."""
        since, until = moment(request.since), moment(request.until)
        batches = [
            batch
            for batch in self._app(request.app_id).log.batches
            if _wanted(request, batch) and since <= batch.items[0].timestamp <= until
        ]
        return api_pb2.AppFetchLogsResponse(batches=batches[-count(request.limit) :])

    async def reap(self) -> None:
        """Stop apps whose client has disappeared; runs without end."""
        while True:
            await asyncio.sleep(HEARTBEAT_LIMIT / 10)
            for app in list(self._state.apps.values()):
                if (
                    not app.outlives_client
                    and not app.stopped
                    and time.monotonic() - app.heartbeat_at > HEARTBEAT_LIMIT
                ):
                    self._stop(app)

    def _app(self, app_id: str) -> App:
        return found(self._state.apps, app_id, "app")

    def _stop(self, app: App) -> None:
        task = asyncio.get_running_loop().create_task(self._scheduler.stop_app(app.id))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)


def _wanted(request: api_pb2.AppGetLogsRequest | api_pb2.AppFetchLogsRequest, batch: api_pb2.TaskLogsBatch) -> bool:
    """Return whether a log entry passes the request's filters; an empty filter passes all."""
    item = batch.items[0]
    if isinstance(request, api_pb2.AppGetLogsRequest):
        input_id, source = request.input_id, request.file_descriptor
    else:
        input_id, source = "", request.source
    pairs = (
        (request.function_id, batch.function_id),
        (request.task_id, batch.task_id),
        (request.function_call_id, item.function_call_id),
        (input_id, item.input_id),
        (source, item.file_descriptor),
    )
    return all(not wanted or wanted == has for wanted, has in pairs) and request.search_text in item.data
