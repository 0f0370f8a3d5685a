"""Functions and classes: how they are defined, varied by parameters and options, and scaled."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.furnish import ROOT
from modal_gpu_magic.control_plane.gpus import Rack, checked
from modal_gpu_magic.control_plane.links import refuse_occupied
from modal_gpu_magic.control_plane.messages import known, shared_fields
from modal_gpu_magic.control_plane.refusals import found
from modal_gpu_magic.control_plane.servicers.mounts import mount_metadata
from modal_gpu_magic.control_plane.servicers.volumes import volume_metadata
from modal_gpu_magic.control_plane.state import App, Container, Function, Scaling, State, new_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modal_gpu_magic.control_plane.scheduler import Scheduler

INLINE_BYTES = 1 << 30
"""Arguments and results up to this size go over gRPC. Modal sends from 2 MiB on through blobs, over HTTP."""

FORMATS = ("supported_input_formats", "supported_output_formats")

_SCALING_OPTIONS = {
    "warm_pool_size": "min_containers",
    "concurrency_limit": "max_containers",
    "buffer_containers": "buffer_containers",
    "task_idle_timeout_secs": "scaledown_window",
}
"""FunctionOptions field -> Scaling field."""

_PLAIN_OPTIONS = (
    "timeout_secs",
    "max_concurrent_inputs",
    "target_concurrent_inputs",
    "batch_max_size",
    "batch_linger_ms",
    "cloud_provider_str",
    "routing_region",
)
"""FunctionOptions fields that replace the field of the same name in the definition."""

_MESSAGE_OPTIONS = ("retry_policy", "scheduler_placement")


class Functions:
    """RPCs that make functions, and change their scaling."""

    def __init__(self, state: State, scheduler: Scheduler, rack: Rack) -> None:
        self._state, self._scheduler, self._rack = state, scheduler, rack
        self._variants: dict[bytes, Function] = {}

    async def FunctionPrecreate(
        self, request: api_pb2.FunctionPrecreateRequest, peer: Container | None
    ) -> api_pb2.FunctionPrecreateResponse:
        """An id for a function that is not defined yet, so that others can refer to it."""
        function = self._existing_or_new(request.existing_function_id, request.app_id)
        function.definition = shared_fields(request, api_pb2.Function)
        function.handle = handle_of(function)
        return known(api_pb2.FunctionPrecreateResponse, function_id=function.id, handle_metadata=function.handle)

    async def FunctionCreate(
        self, request: api_pb2.FunctionCreateRequest, peer: Container | None
    ) -> api_pb2.FunctionCreateResponse:
        """Define a function. With a list of GPUs there is one definition for each, in order of preference."""
        if request.HasField("function_data"):
            ranked = sorted(request.function_data.ranked_functions, key=lambda each: each.rank)
            definitions = [each.function for each in ranked]
        else:
            definitions = [request.function]
        _check_volumes(definitions[0].volume_mounts)
        function = self._existing_or_new(request.existing_function_id, request.app_id)
        function.definition.CopyFrom(definitions[0])
        await self._set_gpus(function, [definition.resources.gpu_config for definition in definitions])
        function.scaling = scaling_of(function.definition)
        function.handle = handle_of(function)
        return known(
            api_pb2.FunctionCreateResponse,
            function_id=function.id,
            function=function.definition,
            handle_metadata=function.handle,
            function_data=request.function_data if len(definitions) > 1 else function_data_of(function),
        )

    async def FunctionBindParams(
        self, request: api_pb2.FunctionBindParamsRequest, peer: Container | None
    ) -> api_pb2.FunctionBindParamsResponse:
        """A variant of a function, with a pool of its own; the same request gives the same variant."""
        key = request.SerializeToString(deterministic=True)
        if key not in self._variants:
            self._variants[key] = await self._variant(request)
        function = self._variants[key]
        return known(api_pb2.FunctionBindParamsResponse, bound_function_id=function.id, handle_metadata=function.handle)

    async def _variant(self, request: api_pb2.FunctionBindParamsRequest) -> Function:
        base = found(self._state.functions, request.function_id, "function")
        variant = Function(new_id("fu"), base.app, parameters=request.serialized_params, gpus=base.gpus)
        variant.definition.CopyFrom(base.definition)
        options = request.function_options
        _check_volumes(options.volume_mounts)
        variant.scaling = with_options(base.scaling, options)
        apply_options(variant.definition, options)
        if options.HasField("resources") and options.resources.HasField("gpu_config"):
            await self._set_gpus(variant, [options.resources.gpu_config])
        variant.handle = handle_of(variant)
        self._state.functions[variant.id] = variant
        return variant

    async def ClassCreate(
        self, request: api_pb2.ClassCreateRequest, peer: Container | None
    ) -> api_pb2.ClassCreateResponse:
        """A class is its `Name.*` function; this is its handle."""
        class_id = request.existing_class_id or new_id("cs")
        return known(api_pb2.ClassCreateResponse, class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())

    async def FunctionGetById(
        self, request: api_pb2.FunctionGetByIdRequest, peer: Container | None
    ) -> api_pb2.FunctionGetByIdResponse:
        """`Function.from_id`, `.info(refresh=True)`."""
        function = self._function(request.function_id)
        data = function_data_of(function)
        return known(api_pb2.FunctionGetByIdResponse, function=data, handle_metadata=function.handle)

    async def FunctionUpdateSchedulingParams(
        self, request: api_pb2.FunctionUpdateSchedulingParamsRequest, peer: Container | None
    ) -> api_pb2.FunctionUpdateSchedulingParamsResponse:
        """`autoscaler.update()`: what is given changes, at once, also for containers that are idle now."""
        function = self._function(request.function_id)
        function.scaling = _updated(function.scaling, _given(request.settings))
        self._scheduler.scale(function)
        return known(api_pb2.FunctionUpdateSchedulingParamsResponse, current_settings=settings_of(function.scaling))

    async def FunctionGetSchedulingParams(
        self, request: api_pb2.FunctionGetSchedulingParamsRequest, peer: Container | None
    ) -> api_pb2.FunctionGetSchedulingParamsResponse:
        """`autoscaler.settings()`."""
        function = self._function(request.function_id)
        configuration = known(api_pb2.AutoscalerConfiguration, settings=settings_of(function.scaling))
        return known(api_pb2.FunctionGetSchedulingParamsResponse, autoscaler_configuration=configuration)

    async def FunctionGetCurrentStats(
        self, request: api_pb2.FunctionGetCurrentStatsRequest, peer: Container | None
    ) -> api_pb2.FunctionStats:
        """`get_current_stats()`."""
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
        """The function that was precreated, or a new one of the app."""
        if existing_id in self._state.functions:
            return self._state.functions[existing_id]
        function = Function(new_id("fu"), found(self._state.apps, app_id, "app"))
        self._state.functions[function.id] = function
        return function

    async def _set_gpus(self, function: Function, configs: list[api_pb2.GPUConfig]) -> None:
        """Check what is asked for, every fallback included; raises Invalid."""
        specs = [spec for config in configs if (spec := checked(config.gpu_type, config.count))]
        for spec in specs[:1]:
            await self._rack.survey(spec)
        function.gpus = tuple(specs)


_SETTINGS = tuple(field.name for field in dataclasses.fields(Scaling))


def _check_volumes(mounts: Iterable[api_pb2.VolumeMount]) -> None:
    """Refuse a volume at a path where it cannot be; below /root each container has a directory of its own."""
    for mount in mounts:
        path = Path(mount.mount_path)
        if not path.is_relative_to(ROOT):
            refuse_occupied(path)


def scaling_of(definition: api_pb2.Function) -> Scaling:
    """The scaling a function is defined with."""
    return _updated(Scaling(), _given(definition.autoscaler_settings))


def _given(settings: api_pb2.AutoscalerSettings) -> dict[str, int]:
    """The settings that are set, zeros included."""
    return {field.name: value for field, value in settings.ListFields()}


def settings_of(scaling: Scaling) -> api_pb2.AutoscalerSettings:
    """Scaling as the SDK shows it; no limit is 0 there."""
    values = {name: getattr(scaling, name) or 0 for name in _SETTINGS}
    return known(api_pb2.AutoscalerSettings, **values)


def with_options(scaling: Scaling, options: api_pb2.FunctionOptions) -> Scaling:
    """The scaling of a variant: what its options give, else what it had."""
    given = {
        name: getattr(options, option)
        for option, name in _SCALING_OPTIONS.items()
        if options.HasField(option)  # type: ignore[arg-type]
    }
    return _updated(scaling, given)


def _updated(scaling: Scaling, given: dict[str, int]) -> Scaling:
    """`given` over `scaling`. A maximum of 0 means none; a window of 0 the default."""
    values: dict[str, int | None] = {name: value for name, value in given.items() if name in _SETTINGS}
    if values.get("max_containers") == 0:
        values["max_containers"] = None
    if values.get("scaledown_window") == 0:
        values["scaledown_window"] = Scaling().scaledown_window
    return dataclasses.replace(scaling, **values)  # type: ignore[arg-type]  # names are those of the fields


def apply_options(definition: api_pb2.Function, options: api_pb2.FunctionOptions) -> None:
    """Write the options of `with_options`, `with_concurrency`, `with_batching` into a definition."""
    definition.resources.MergeFrom(options.resources)
    for name in _PLAIN_OPTIONS:
        if options.HasField(name):  # type: ignore[arg-type]
            setattr(definition, name, getattr(options, name))
    for name in _MESSAGE_OPTIONS:
        if options.HasField(name):  # type: ignore[arg-type]
            getattr(definition, name).CopyFrom(getattr(options, name))
    if options.replace_secret_ids:
        definition.ClearField("secret_ids")
        definition.secret_ids.extend(options.secret_ids)
    if options.replace_volume_mounts:
        definition.ClearField("volume_mounts")
        definition.volume_mounts.extend(options.volume_mounts)


def handle_of(function: Function) -> api_pb2.FunctionHandleMetadata:
    """What a client or a container needs to call the function."""
    definition = function.definition
    common = {
        "app_id": function.app.id,
        "max_object_size_bytes": INLINE_BYTES,
        "max_async_object_size_bytes": INLINE_BYTES,
    }
    handle = known(
        api_pb2.FunctionHandleMetadata,
        function_name=definition.function_name,
        function_type=definition.function_type,
        is_method=definition.is_method,
        definition_id=f"de-{function.id}",
        class_parameter_info=definition.class_parameter_info,
        function_schema=definition.function_schema,
        **{name: getattr(definition, name) for name in FORMATS},
        **common,
    )
    for name, method in definition.method_definitions.items():
        handle.method_handle_metadata[name].CopyFrom(
            known(
                api_pb2.FunctionHandleMetadata,
                function_name=method.function_name,
                function_type=method.function_type,
                is_method=True,
                use_method_name=name,
                function_schema=method.function_schema,
                **{name: getattr(method, name) for name in FORMATS},
                **common,
            )
        )
    return handle


def function_data_of(function: Function) -> api_pb2.FunctionData:
    """The definition in the form of the SDK's `Function.info()`, which refuses one without ranked functions."""
    data = shared_fields(function.definition, api_pb2.FunctionData)
    data.ranked_functions.add(rank=0, function=function.definition)
    return data


def layout_of(state: State, app: App) -> api_pb2.AppLayout:
    """An app's objects by tag, as the SDK in a container looks them up."""
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
    """The file that tells the SDK's entrypoint what it runs."""
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
    """An object that a function in a file refers to; of the kinds without metadata in a layout only the id."""
    if volume := state.volumes.get(object_id):
        return api_pb2.Object(object_id=object_id, volume_metadata=volume_metadata(volume))
    if object_id in state.mounts:
        return api_pb2.Object(object_id=object_id, mount_handle_metadata=mount_metadata(state.mounts[object_id]))
    return api_pb2.Object(object_id=object_id)
