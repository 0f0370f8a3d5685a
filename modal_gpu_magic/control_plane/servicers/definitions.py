"""Definitions of functions: limits, options, scaling, and handles for callers. Pure functions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.catalog.limits import BATCH_SIZES, BATCH_WAIT_MS, FUNCTION_TIMEOUT
from modal_gpu_magic.control_plane.containers.links import refuse_occupied
from modal_gpu_magic.control_plane.containers.setup import ROOT
from modal_gpu_magic.control_plane.fields import absolute_path, inner_path, number
from modal_gpu_magic.control_plane.messages import known, shared_fields
from modal_gpu_magic.control_plane.refusals import Invalid, Unsupported
from modal_gpu_magic.control_plane.scheduling.state import Definition, Function, Scaling
from modal_gpu_magic.control_plane.servicers.schedules import check_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL_INLINE_BYTES = 1 << 30
"""Arguments and results up to this size go over gRPC here. Modal sends those above `INLINE_BYTES` by HTTP."""

FORMATS = ("supported_input_formats", "supported_output_formats")

_SCALING_OPTIONS = {
    "warm_pool_size": "min_containers",
    "concurrency_limit": "max_containers",
    "buffer_containers": "buffer_containers",
    "task_idle_timeout_secs": "scaledown_window",
}
"""Field of FunctionOptions -> field of Scaling."""

_PLAIN_OPTIONS = (
    "timeout_secs",
    "max_concurrent_inputs",
    "target_concurrent_inputs",
    "batch_max_size",
    "batch_linger_ms",
    "cloud_provider_str",
    "routing_region",
)
"""Fields of FunctionOptions that replace the definition's field of the same name."""

_MESSAGE_OPTIONS = ("retry_policy", "scheduler_placement")

_SETTINGS = tuple(field.name for field in dataclasses.fields(Scaling))

_UNSUPPORTED: dict[str, Callable[[api_pb2.Function], object]] = {
    "web endpoints": lambda function: (
        function.webhook_config.type
        or any(method.webhook_config.type for method in function.method_definitions.values())
    ),
    "servers": lambda function: function.is_server,
    "cloud bucket mounts": lambda function: function.cloud_bucket_mounts,
    "network file systems": lambda function: function.shared_volume_mounts,
    "proxies": lambda function: function.proxy_id,
    "interactive functions": lambda function: function.pty_info.pty_type,
}
"""Features of definitions that the local backend does not support, and tests for them."""


MOST_INPUTS = 10_000
"""Most inputs that a container of the local backend runs at once."""

_LIMITS = (
    ("batch_max_size", 0, BATCH_SIZES[1]),
    ("batch_linger_ms", *BATCH_WAIT_MS),
    ("max_concurrent_inputs", 0, MOST_INPUTS),
)
"""Field of a definition, and the range of its values; 0 is the default."""

_RETRY_LIMITS = (
    ("retries", 0, 10),
    ("backoff_coefficient", 0, 10),
    ("initial_delay_ms", 0, 60_000),
    ("max_delay_ms", 0, 60_000),
)
"""Field of a retry policy, and the range that `modal.Retries` allows."""


def check(definition: api_pb2.Function) -> None:
    """Raise Invalid or Unsupported for what Modal or the local backend does not support; the SDK checks none of it."""
    for feature, wanted in _UNSUPPORTED.items():
        if wanted(definition):
            raise Unsupported(f"The local backend does not support {feature}. Use `--backend cloud`.")
    for name in ("timeout_secs", "startup_timeout_secs"):
        if (seconds := getattr(definition, name)) > FUNCTION_TIMEOUT:
            most = f"Modal's limit of {FUNCTION_TIMEOUT} s (24 hours)"
            raise Invalid(f"{name.removesuffix('_secs')}={seconds} is over {most}.")
    for name, low, high in _LIMITS:
        number(getattr(definition, name), low, high, name)
    for name, low, high in _RETRY_LIMITS:
        number(getattr(definition.retry_policy, name), low, high, f"retries: {name}")
    check_schedule(definition.schedule)
    for mount in definition.volume_mounts:
        inner_path(mount.sub_path, "The path in a Volume")
        path = Path(absolute_path(mount.mount_path, "The path of a Volume"))
        if not path.is_relative_to(ROOT):  # paths below /root are in each container's own directory
            refuse_occupied(path)


def scaling_of(definition: api_pb2.Function) -> Scaling:
    """Return the scaling of a function's definition."""
    return _updated(Scaling(), _given(definition.autoscaler_settings))


def _given(settings: api_pb2.AutoscalerSettings) -> dict[str, int]:
    """Return the settings that are set, including zeros."""
    return {field.name: value for field, value in settings.ListFields()}


def settings_of(scaling: Scaling) -> api_pb2.AutoscalerSettings:
    """Return the scaling in the SDK's format, where 0 means no limit."""
    values = {name: getattr(scaling, name) or 0 for name in _SETTINGS}
    return known(api_pb2.AutoscalerSettings, **values)


def with_settings(scaling: Scaling, settings: api_pb2.AutoscalerSettings) -> Scaling:
    """Return the scaling after an update of the autoscaler."""
    return _updated(scaling, _given(settings))


def define(function: Function, definition: Definition, definition_id: str = "") -> None:
    """Give a function its definition, the first or a new one."""
    function.definition, function.gpus, function.scaling = definition.message, definition.gpus, definition.scaling
    function.handle = handle_of(function, definition.message, definition_id or function.handle.definition_id)
    function.current, function.defined, function.removed = definition, True, False


def with_options(scaling: Scaling, options: api_pb2.FunctionOptions) -> Scaling:
    """Return the scaling of a variant: that of its base, changed by its options."""
    given = {
        name: getattr(options, option)
        for option, name in _SCALING_OPTIONS.items()
        if options.HasField(option)  # type: ignore[arg-type]
    }
    return _updated(scaling, given)


def _updated(scaling: Scaling, given: dict[str, int]) -> Scaling:
    """Return `scaling` changed by `given`. A maximum of 0 means no limit; a window of 0 means the default."""
    values: dict[str, int | None] = {name: value for name, value in given.items() if name in _SETTINGS}
    if values.get("max_containers") == 0:
        values["max_containers"] = None
    if values.get("scaledown_window") == 0:
        values["scaledown_window"] = Scaling().scaledown_window
    return dataclasses.replace(scaling, **values)  # type: ignore[arg-type]  # the names are those of the fields


def apply_options(definition: api_pb2.Function, options: api_pb2.FunctionOptions) -> None:
    """Apply the options of `with_options`, `with_concurrency` and `with_batching` to a definition."""
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


def handle_of(function: Function, definition: api_pb2.Function, definition_id: str) -> api_pb2.FunctionHandleMetadata:
    """Return the metadata that a client or container needs to call the function by this definition of it."""
    common = {
        "app_id": function.app.id,
        "max_object_size_bytes": LOCAL_INLINE_BYTES,
        "max_async_object_size_bytes": LOCAL_INLINE_BYTES,
    }
    handle = known(
        api_pb2.FunctionHandleMetadata,
        function_name=definition.function_name,
        function_type=definition.function_type,
        is_method=definition.is_method,
        definition_id=definition_id,
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


def function_data_of(definition: api_pb2.Function) -> api_pb2.FunctionData:
    """Return the definition in the format of the SDK's `Function.info()`, which requires ranked functions."""
    data = shared_fields(definition, api_pb2.FunctionData)
    data.ranked_functions.add(rank=0, function=definition)
    return data
