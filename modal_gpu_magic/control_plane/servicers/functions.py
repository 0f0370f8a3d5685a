"""Functions and classes: definition, variants by parameters and options, and scaling."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.messages import known, shared_fields
from modal_gpu_magic.control_plane.refusals import Invalid, found
from modal_gpu_magic.control_plane.scheduling.clusters import check_cluster
from modal_gpu_magic.control_plane.scheduling.gpu_pool import GpuPool, checked
from modal_gpu_magic.control_plane.scheduling.state import App, Container, Definition, Function, State, new_id
from modal_gpu_magic.control_plane.servicers.definitions import (
    apply_options,
    check,
    define,
    function_data_of,
    handle_of,
    scaling_of,
    settings_of,
    with_options,
    with_settings,
)
from modal_gpu_magic.control_plane.servicers.mounts import mount_metadata
from modal_gpu_magic.control_plane.servicers.volumes import volume_metadata

if TYPE_CHECKING:
    from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler
    from modal_gpu_magic.line.spec import GpuSpec

STAGED_KEPT = 8
"""Definitions of a function that were sent and not deployed yet, which are kept: several clients may deploy at once."""


class Functions:
    """RPCs that create functions and change their scaling."""

    def __init__(self, state: State, scheduler: Scheduler, pool: GpuPool) -> None:
        self._state, self._scheduler, self._pool = state, scheduler, pool
        self._variants: dict[bytes, Function] = {}

    async def FunctionPrecreate(
        self, request: api_pb2.FunctionPrecreateRequest, peer: Container | None
    ) -> api_pb2.FunctionPrecreateResponse:
        """Return an id for a function that is not defined yet, so that others can refer to it."""
        function = self._existing_or_new(request.existing_function_id, request.app_id)
        definition = shared_fields(request, api_pb2.Function)
        handle = handle_of(function, definition, new_id("de"))
        if not _serves(function):
            function.definition, function.handle = definition, handle
        return known(api_pb2.FunctionPrecreateResponse, function_id=function.id, handle_metadata=handle)

    async def FunctionCreate(
        self, request: api_pb2.FunctionCreateRequest, peer: Container | None
    ) -> api_pb2.FunctionCreateResponse:
        """Define a function. A list of GPUs has one definition per GPU, in order of preference.

        The new definition of a function that is deployed counts from the deployment on (`AppPublish`).
        """
        if request.HasField("function_data"):
            ranked = sorted(request.function_data.ranked_functions, key=lambda each: each.rank)
            definitions = [each.function for each in ranked]
        else:
            definitions = [request.function]
        if not definitions:
            raise Invalid("A function has no definition.")
        for each in definitions:
            check(each)
        gpus = await self._gpus(definitions[0], [each.resources.gpu_config for each in definitions])
        function = self._existing_or_new(request.existing_function_id, request.app_id)
        message = api_pb2.Function()
        message.CopyFrom(definitions[0])
        definition, definition_id = Definition(message, gpus, scaling_of(message)), new_id("de")
        if _serves(function):
            function.staged[definition_id] = definition
            for old in list(function.staged)[:-STAGED_KEPT]:
                del function.staged[old]
        else:
            define(function, definition, definition_id)
        return known(
            api_pb2.FunctionCreateResponse,
            function_id=function.id,
            function=message,
            handle_metadata=handle_of(function, message, definition_id),
            function_data=request.function_data if len(definitions) > 1 else function_data_of(message),
        )

    async def FunctionBindParams(
        self, request: api_pb2.FunctionBindParamsRequest, peer: Container | None
    ) -> api_pb2.FunctionBindParamsResponse:
        """Return a variant of a function, with a pool of its own; equal requests return the same variant."""
        key = request.SerializeToString(deterministic=True)
        function = self._variants.get(key)
        if function is None or function.id not in self._state.functions:
            function = await self._variant(request)
            alive = {each: old for each, old in self._variants.items() if old.id in self._state.functions}
            self._variants = {**alive, key: function}
        return known(api_pb2.FunctionBindParamsResponse, bound_function_id=function.id, handle_metadata=function.handle)

    async def _variant(self, request: api_pb2.FunctionBindParamsRequest) -> Function:
        base = found(self._state.functions, request.function_id, "function")
        variant = Function(new_id("fu"), base.app, parameters=request.serialized_params, base=base)
        variant.options.CopyFrom(request.function_options)
        definition = await self.changed(Definition(base.definition, base.gpus, base.scaling), variant.options)
        define(variant, definition, new_id("de"))
        self._state.functions[variant.id] = variant
        return variant

    async def changed(self, base: Definition, options: api_pb2.FunctionOptions) -> Definition:
        """Return the definition of a variant; raise Invalid for what Modal would refuse."""
        message, gpus = api_pb2.Function(), base.gpus
        message.CopyFrom(base.message)
        apply_options(message, options)
        check(message)
        if options.HasField("resources") and options.resources.HasField("gpu_config"):
            gpus = await self._gpus(message, [options.resources.gpu_config])
        return Definition(message, gpus, with_options(base.scaling, options))

    async def ClassCreate(
        self, request: api_pb2.ClassCreateRequest, peer: Container | None
    ) -> api_pb2.ClassCreateResponse:
        """Return a class id. A class has no definition of its own, only its `Name.*` function."""
        class_id = request.existing_class_id or new_id("cs")
        return known(api_pb2.ClassCreateResponse, class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())

    async def FunctionGetById(
        self, request: api_pb2.FunctionGetByIdRequest, peer: Container | None
    ) -> api_pb2.FunctionGetByIdResponse:
        """Return a function for `Function.from_id` or `.info(refresh=True)`."""
        function = self._function(request.function_id)
        data = function_data_of(function.definition)
        return known(api_pb2.FunctionGetByIdResponse, function=data, handle_metadata=function.handle)

    async def FunctionUpdateSchedulingParams(
        self, request: api_pb2.FunctionUpdateSchedulingParamsRequest, peer: Container | None
    ) -> api_pb2.FunctionUpdateSchedulingParamsResponse:
        """Apply `autoscaler.update()` at once, also to idle containers."""
        function = self._function(request.function_id)
        function.scaling = with_settings(function.scaling, request.settings)
        self._scheduler.scale(function)
        return known(api_pb2.FunctionUpdateSchedulingParamsResponse, current_settings=settings_of(function.scaling))

    async def FunctionGetSchedulingParams(
        self, request: api_pb2.FunctionGetSchedulingParamsRequest, peer: Container | None
    ) -> api_pb2.FunctionGetSchedulingParamsResponse:
        """Return the settings for `autoscaler.settings()`."""
        function = self._function(request.function_id)
        configuration = known(api_pb2.AutoscalerConfiguration, settings=settings_of(function.scaling))
        return known(api_pb2.FunctionGetSchedulingParamsResponse, autoscaler_configuration=configuration)

    async def FunctionGetCurrentStats(
        self, request: api_pb2.FunctionGetCurrentStatsRequest, peer: Container | None
    ) -> api_pb2.FunctionStats:
        """Return the numbers for `get_current_stats()`."""
        function = self._function(request.function_id)
        running = sum(len(container.running) for container in function.containers.values())
        return known(
            api_pb2.FunctionStats,
            backlog=len(function.pending),
            num_total_tasks=len(function.containers),
            num_running_inputs=running,
            input_headroom=max(0, len(function.live) * function.slots - running),
        )

    def _function(self, function_id: str) -> Function:
        return found(self._state.functions, function_id, "function")

    def _existing_or_new(self, existing_id: str, app_id: str) -> Function:
        """Return the precreated function, or a new one of the app."""
        if existing_id in self._state.functions:
            return self._state.functions[existing_id]
        function = Function(new_id("fu"), found(self._state.apps, app_id, "app"), defined=False)
        self._state.functions[function.id] = function
        return function

    async def _gpus(self, definition: api_pb2.Function, configs: list[api_pb2.GPUConfig]) -> tuple[GpuSpec, ...]:
        """Return the requested GPUs, the fallbacks behind the first; raise Invalid for what Modal would refuse."""
        specs = [spec for config in configs if (spec := checked(config.gpu_type, config.count))]
        nodes = definition._experimental_group_size
        if nodes:
            check_cluster(nodes, specs, rdma=definition.resources.rdma)
        for spec in specs[:1]:
            await self._pool.survey(spec, nodes or 1)
        return tuple(specs)


def _serves(function: Function) -> bool:
    """Whether a function is one of a deployed app, so that calls use its present definition."""
    return function.app.deployed and function.defined


def layout_of(state: State, app: App) -> api_pb2.AppLayout:
    """Return an app's objects by tag, for the SDK in a container."""
    objects = [
        api_pb2.Object(object_id=each, function_handle_metadata=state.functions[each].handle)
        for each in app.function_ids.values()
    ]
    objects += [
        api_pb2.Object(object_id=each, class_handle_metadata=api_pb2.ClassHandleMetadata())
        for each in app.class_ids.values()
    ]
    return api_pb2.AppLayout(objects=objects, function_ids=app.function_ids, class_ids=app.class_ids)


def container_arguments(state: State, container: Container) -> bytes:
    """Return the file that tells the SDK's entrypoint what to run."""
    function = container.function
    layout = layout_of(state, function.app)
    layout.objects.extend(_dependency(state, each.object_id) for each in function.definition.object_dependencies)
    return known(
        api_pb2.ContainerArguments,
        task_id=container.id,
        function_id=function.id,
        app_id=function.app.id,
        function_def=function.definition,
        serialized_params=function.parameters,
        environment_name="main",
        app_layout=layout,
    ).SerializeToString()


def _dependency(state: State, object_id: str) -> api_pb2.Object:
    """Return an object that a function in a file refers to; kinds without metadata in a layout have only the id."""
    if volume := state.volumes.get(object_id):
        return api_pb2.Object(object_id=object_id, volume_metadata=volume_metadata(volume))
    if object_id in state.mounts:
        return api_pb2.Object(object_id=object_id, mount_handle_metadata=mount_metadata(state.mounts[object_id]))
    return api_pb2.Object(object_id=object_id)
