"""Deployed apps: deployment, versions, lookup by name, and what runs."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.fields import object_name, shown
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Conflict, NotFound, Unsupported, found
from modal_gpu_magic.control_plane.scheduling.state import App, Container, Definition, Function, Release, State, new_id
from modal_gpu_magic.control_plane.servicers.definitions import define, function_data_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler
    from modal_gpu_magic.control_plane.servicers.functions import Functions

USER = "local"
"""Who deploys here, in the lists of the SDK."""

ENVIRONMENT = "main"
RELEASES_KEPT = 50
"""Versions of an app that can be deployed again: each holds the code of its functions."""

PREVIOUS = -1
"""The version that `modal app rollback` asks for when the user names none."""

ENDS_WITH_COMMAND = (
    "The local backend stops together with its command, and deployed apps with it. To keep them, deploy with "
    "`python -m modal_gpu_magic.control_plane --lasting modal deploy …`."
)


class Deployments:
    """RPCs of deployed apps. `lasting`: the server outlives the command or the client that deploys."""

    def __init__(self, state: State, scheduler: Scheduler, functions: Functions, *, lasting: bool) -> None:
        self._state, self._scheduler, self._functions, self._lasting = state, scheduler, functions, lasting

    async def AppPublish(
        self, request: api_pb2.AppPublishRequest, peer: Container | None
    ) -> api_pb2.AppPublishResponse:
        """End the creation of an app's objects: start warm containers, and make a version of a deployed app."""
        app = found(self._state.apps, request.app_id, "app")
        if app.stopped:
            raise Conflict(f"App {app.id} has been stopped.")
        if request.staged:
            raise Unsupported("The local backend does not support staged deployments. Use `--backend cloud`.")
        if request.app_state != api_pb2.APP_STATE_DEPLOYED:
            app.function_ids, app.class_ids = dict(request.function_ids), dict(request.class_ids)
            self._scale(app)
            return known(api_pb2.AppPublishResponse, url=page_of(app), deployed_at=time.time())
        self._take_name(app, request.name)
        functions = {each: found(self._state.functions, each, "function") for each in request.function_ids.values()}
        release = Release(
            _newest(app) + 1,
            time.time(),
            dict(request.function_ids),
            dict(request.class_ids),
            {key: _sent(each, request.definition_ids.get(key, "")) for key, each in functions.items()},
            request.deployment_tag,
            request.client_version,
            request.commit_info if request.HasField("commit_info") else None,
        )
        app.tags = dict(request.tags)
        warnings = [] if self._lasting else [api_pb2.Warning(message=ENDS_WITH_COMMAND)]
        if changed := _differs(app, release):
            await self._deploy(app, release, dict(request.definition_ids))
        return known(
            api_pb2.AppPublishResponse,
            url=page_of(app),
            deployed_at=release.deployed_at if changed else 0.0,
            server_warnings=warnings,
        )

    async def AppRollback(
        self, request: api_pb2.AppRollbackRequest, peer: Container | None
    ) -> api_pb2.AppRollbackResponse:
        """Deploy an earlier version again, as a new one."""
        app = self._deployed_by_id(request.app_id)
        newest = _newest(app)
        wanted = newest - 1 if request.version == PREVIOUS else request.version
        earlier = next((each for each in app.releases[:-1] if each.number == wanted), None)
        if earlier is None:
            raise NotFound(f"App {app.name!r} has no earlier version {wanted}; its newest is {newest}.")
        release = dataclasses.replace(earlier, number=newest + 1, deployed_at=time.time(), rollback_of=wanted)
        await self._deploy(app, release, {})
        return known(api_pb2.AppRollbackResponse, url=page_of(app), deployed_at=release.deployed_at)

    async def AppRollover(
        self, request: api_pb2.AppRolloverRequest, peer: Container | None
    ) -> api_pb2.AppRolloverResponse:
        """Deploy the present version again: new containers, the same code."""
        app = self._deployed_by_id(request.app_id)
        if not app.releases:
            raise Conflict(f"App {app.name!r} has no functions.")
        newest = app.releases[-1]
        release = dataclasses.replace(newest, number=newest.number + 1, deployed_at=time.time())
        await self._deploy(app, release, {})
        return known(api_pb2.AppRolloverResponse, url=page_of(app), deployed_at=release.deployed_at)

    async def AppGetByDeploymentName(
        self, request: api_pb2.AppGetByDeploymentNameRequest, peer: Container | None
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        """Return the deployed app of a name, or the one that was stopped last; none is no error."""
        app = self._named(request.name)
        named = [each for each in self._state.apps.values() if each.stopped and each.name == request.name]
        previous = None if app else max(named, key=lambda each: each.stopped_at or 0.0, default=None)
        shown_app = app or previous
        return known(
            api_pb2.AppGetByDeploymentNameResponse,
            app_id=app.id if app else "",
            previous_app_id=previous.id if previous else "",
            environment_name=ENVIRONMENT,
            lifecycle=lifecycle_of(shown_app) if shown_app else None,
        )

    async def AppGetOrCreate(
        self, request: api_pb2.AppGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.AppGetOrCreateResponse:
        """Return an app for `App.lookup`, by its name or its id, or create one without functions."""
        app = self._state.apps.get(request.app_name) or self._named(request.app_name)
        if app is None and request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            app = App(new_id("ap"), detached=False, description=request.app_name)
            self._take_name(app, request.app_name)
            self._state.apps[app.id] = app
        if app is None:
            raise _no_app(request.app_name)
        return known(api_pb2.AppGetOrCreateResponse, app_id=app.id, handle_metadata=_metadata(app))

    async def AppGetLifecycle(
        self, request: api_pb2.AppGetLifecycleRequest, peer: Container | None
    ) -> api_pb2.AppGetLifecycleResponse:
        """Return an app's state, with the times of its deployment and end."""
        app = found(self._state.apps, request.app_id, "app")
        return known(api_pb2.AppGetLifecycleResponse, lifecycle=lifecycle_of(app))

    async def AppList(self, request: api_pb2.AppListRequest, peer: Container | None) -> api_pb2.AppListResponse:
        """Return the apps that run, are deployed, or were stopped recently."""
        items = [
            known(
                api_pb2.AppListResponse.AppListItem,
                app_id=app.id,
                description=app.name or app.description,
                name=app.name,
                state=state_of(app),
                created_at=app.created_at,
                stopped_at=app.stopped_at or 0.0,
                n_running_tasks=len(self._containers_of(app)),
                metadata=_metadata(app),
            )
            for app in self._state.users_apps
        ]
        return known(api_pb2.AppListResponse, apps=items)

    async def AppDeploymentHistory(
        self, request: api_pb2.AppDeploymentHistoryRequest, peer: Container | None
    ) -> api_pb2.AppDeploymentHistoryResponse:
        """Return the versions of a deployed app, the newest first."""
        app = found(self._state.apps, request.app_id, "app")
        versions = [
            known(
                api_pb2.AppDeploymentHistory,
                app_id=app.id,
                version=release.number,
                client_version=release.client_version,
                deployed_at=release.deployed_at,
                deployed_by=USER,
                tag=release.tag,
                rollback_version=release.rollback_of,
                rollback_allowed=release is not app.releases[-1],
                commit_info=release.commit,
            )
            for release in reversed(app.releases)
        ]
        return known(api_pb2.AppDeploymentHistoryResponse, app_deployment_histories=versions)

    async def AppSetTags(self, request: api_pb2.AppSetTagsRequest, peer: Container | None) -> Empty:
        """Replace an app's tags."""
        found(self._state.apps, request.app_id, "app").tags = dict(request.tags)
        return Empty()

    async def AppGetTags(
        self, request: api_pb2.AppGetTagsRequest, peer: Container | None
    ) -> api_pb2.AppGetTagsResponse:
        """Return an app's tags."""
        return api_pb2.AppGetTagsResponse(tags=found(self._state.apps, request.app_id, "app").tags)

    async def FunctionGet(
        self, request: api_pb2.FunctionGetRequest, peer: Container | None
    ) -> api_pb2.FunctionGetResponse:
        """Return a function of a deployed app by its name; `Name.*` is that of a class."""
        app = self._app(request.app_name, request.app_version)
        if request.object_tag in app.class_ids:
            raise NotFound(f"{shown(request.object_tag)} is a class: use modal.Cls.from_name")
        function_id = app.function_ids.get(request.object_tag)
        if function_id is None:
            raise NotFound(f"App {app.name!r} has no function {shown(request.object_tag)}")
        function = self._state.functions[function_id]
        return known(
            api_pb2.FunctionGetResponse,
            function_id=function.id,
            handle_metadata=function.handle,
            function=function_data_of(function.definition),
        )

    async def ClassGet(self, request: api_pb2.ClassGetRequest, peer: Container | None) -> api_pb2.ClassGetResponse:
        """Return a class of a deployed app by its name."""
        app = self._app(request.app_name, request.app_version)
        class_id = app.class_ids.get(request.object_tag)
        if class_id is None:
            raise NotFound(f"App {app.name!r} has no class {shown(request.object_tag)}")
        return known(api_pb2.ClassGetResponse, class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())

    async def TaskList(self, request: api_pb2.TaskListRequest, peer: Container | None) -> api_pb2.TaskListResponse:
        """Return the containers of one app, or of all."""
        apps = [found(self._state.apps, request.app_id, "app")] if request.app_id else self._state.users_apps
        tasks = [
            known(
                api_pb2.TaskStats,
                task_id=container.id,
                app_id=app.id,
                app_description=app.name or app.description,
                started_at=container.started_at,
                enqueued_at=container.started_at,
            )
            for app in apps
            for container in self._containers_of(app)
        ]
        return api_pb2.TaskListResponse(tasks=tasks)

    async def _deploy(self, app: App, release: Release, definition_ids: Mapping[str, str]) -> None:
        """Make a release the present version: all of it, or nothing if a variant is not possible any more.

        Running calls end on their containers. What is queued, and each new call, gets the new definition.
        """
        functions = {each: self._state.functions[each] for each in release.definitions}
        variants: dict[str, Definition] = {}
        for variant in self._variants_of(functions.values()):
            base = release.definitions[variant.base.id] if variant.base else None
            if base is not None:
                variants[variant.id] = await self._functions.changed(base, variant.options)
        for key, function in functions.items():
            define(function, release.definitions[key], definition_ids.get(key, ""))
            function.staged.pop(definition_ids.get(key, ""), None)
        for key, definition in variants.items():
            define(self._state.functions[key], definition)
        for function in [self._state.functions[each] for each in app.function_ids.values()]:
            if function.id not in functions:
                self._remove(function)
        app.function_ids, app.class_ids = dict(release.function_ids), dict(release.class_ids)
        app.releases = [*app.releases[1 - RELEASES_KEPT :], release]
        for key in (*functions, *variants):
            self._scheduler.renew(self._state.functions[key])

    def _remove(self, base: Function) -> None:
        """Let a function that the new version lacks end what it has."""
        for function in (base, *self._variants_of([base])):
            function.removed = True
            function.scaling = dataclasses.replace(function.scaling, min_containers=0, buffer_containers=0)
            self._scheduler.scale(function)

    def _variants_of(self, functions: Iterable[Function]) -> list[Function]:
        bases = {function.id for function in functions}
        return [each for each in self._state.functions.values() if each.base is not None and each.base.id in bases]

    def _scale(self, app: App) -> None:
        for function_id in app.function_ids.values():
            self._scheduler.scale(found(self._state.functions, function_id, "function"))

    def _take_name(self, app: App, name: str) -> None:
        """Give an app its name; raise Conflict if another one has the name by now."""
        other = self._named(object_name(name, "An app"))
        if other not in (None, app):
            raise Conflict(f"Another app was deployed as {name!r} meanwhile. Deploy again, which makes a new version.")
        app.name, app.initializing = name, False
        app.description = app.description or name

    def _app(self, name: str, version: int) -> App:
        """Return a deployed app by name; of its versions only the newest can be called."""
        app = self._named(name)
        if app is None:
            raise _no_app(name)
        newest = _newest(app)
        if version not in (0, newest):
            raise NotFound(f"App {name!r} has version {newest} on the local backend, which runs the newest one only")
        return app

    def _named(self, name: str) -> App | None:
        return next((app for app in self._state.apps.values() if name and app.name == name and not app.stopped), None)

    def _deployed_by_id(self, app_id: str) -> App:
        app = found(self._state.apps, app_id, "app")
        if app.stopped or not app.deployed:
            raise Conflict(f"App {app.name or app.id} is not deployed.")
        return app

    def _containers_of(self, app: App) -> list[Container]:
        return [each for each in self._state.containers() if each.function.app is app]


def _newest(app: App) -> int:
    """Return the number of an app's newest version; 0: it has none."""
    return app.releases[-1].number if app.releases else 0


def _sent(function: Function, definition_id: str) -> Definition:
    """Return the definition of a function that a deployment names; without a new one, the present one."""
    definition = function.staged.get(definition_id)
    if definition is None and definition_id not in ("", function.handle.definition_id):
        raise Conflict(f"Function {function.definition.function_name!r} was deployed meanwhile. Deploy again.")
    definition = definition or function.current
    if definition is None or not function.defined:
        raise Conflict(f"Function {function.id} is not defined.")
    return definition


def _differs(app: App, release: Release) -> bool:
    """Whether a release changes what is deployed. One that changes nothing leaves the containers, as on Modal."""
    if not app.releases:
        return True
    newest = app.releases[-1]
    same = [(each.tag, each.function_ids, each.class_ids, _contents(each)) for each in (newest, release)]
    return same[0] != same[1]


def _contents(release: Release) -> dict[str, tuple[bytes, object]]:
    """Return the definitions of a release as values that can be compared."""
    return {
        key: (each.message.SerializeToString(deterministic=True), each.gpus)
        for key, each in release.definitions.items()
    }


def _no_app(name: str) -> NotFound:
    return NotFound(f"No app is deployed as {shown(name)} on the local backend")


def page_of(app: App) -> str:
    """Return the URL of the app's page; no page exists locally."""
    return f"http://localhost/{app.id}"


def state_of(app: App) -> api_pb2.AppState.ValueType:
    """Return the app's state in the SDK's words."""
    states = (
        (app.done, api_pb2.APP_STATE_STOPPED),
        (app.stopped, api_pb2.APP_STATE_STOPPED if app.deployed else api_pb2.APP_STATE_STOPPING),
        (app.deployed, api_pb2.APP_STATE_DEPLOYED),
        (app.initializing, api_pb2.APP_STATE_INITIALIZING),
        (app.detached, api_pb2.APP_STATE_DETACHED),
    )
    return next((state for holds, state in states if holds), api_pb2.APP_STATE_EPHEMERAL)


def lifecycle_of(app: App) -> api_pb2.AppLifecycle:
    """Return the app's state and times."""
    newest = app.releases[-1] if app.releases else None
    return known(
        api_pb2.AppLifecycle,
        app_state=state_of(app),
        created_at=app.created_at,
        created_by=USER,
        deployed_at=newest.deployed_at if newest else 0.0,
        deployed_by=USER if newest else "",
        version=newest.number if newest else 0,
        stopped_at=app.stopped_at or 0.0,
        stopped_by=USER if app.stopped else "",
    )


def _metadata(app: App) -> api_pb2.AppHandleMetadata:
    return known(
        api_pb2.AppHandleMetadata,
        description=app.name or app.description,
        app_id=app.id,
        environment_name=ENVIRONMENT,
        lifecycle=lifecycle_of(app),
        functions=app.function_ids,
    )
