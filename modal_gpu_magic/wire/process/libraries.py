"""The states of libraries: options of numpy, torch, pandas and others. This module imports none of them.

If the installed version of a library lacks a function, the item is left out.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.process_state import State, is_same, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from modal_gpu_magic.wire.process.process_state import Items


def _library(name: str) -> Any:
    return sys.modules[name]


# numpy.

_PRINTING: Final = {
    "edgeitems": 3,
    "floatmode": "maxprec",
    "formatter": None,
    "infstr": "inf",
    "legacy": False,
    "linewidth": 75,
    "nanstr": "nan",
    "override_repr": None,
    "precision": 8,
    "sign": "-",
    "suppress": False,
    "threshold": 1000,
}
_ERRORS: Final = {"divide": "warn", "invalid": "warn", "over": "warn", "under": "ignore"}


def _print_numpy(key: str, value: Any) -> None:
    numpy = _library("numpy")
    now = numpy.get_printoptions()
    reset = {
        each: now[each] for each in ("formatter", "override_repr") if each in now
    }  # each call resets these options unless they are given
    numpy.set_printoptions(**{**reset, key: value})


def _numpy_errors() -> Items:
    """Read the error modes except those that call a function, which would have to be sent separately."""
    errors: Items = _library("numpy").geterr()
    return {key: value for key, value in errors.items() if value not in ("call", "log")}


# torch.

_DTYPE, _GRAD, _DEVICE, _PRECISION = "default dtype", "grad enabled", "default device", "float32 matmul precision"
_DETERMINISTIC, _ANOMALY, _BENCHMARK, _CUDNN = (
    "deterministic",
    "detect anomaly",
    "cudnn.benchmark",
    "cudnn.deterministic",
)
_DEVICES = ("cpu", "meta")
"""Default devices that exist on every machine."""

_TORCH: Final = {
    _DTYPE: "float32",
    _DEVICE: "cpu",
    _GRAD: True,
    _PRECISION: "highest",
    _DETERMINISTIC: (False, False),
    _ANOMALY: (False, True),
    _BENCHMARK: False,
    _CUDNN: False,
}

_TORCH_WRITERS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    _DTYPE: lambda torch, value: torch.set_default_dtype(getattr(torch, value)),
    _DEVICE: lambda torch, value: torch.set_default_device(None if value == "cpu" else value),
    _GRAD: lambda torch, value: torch.set_grad_enabled(value),
    _PRECISION: lambda torch, value: torch.set_float32_matmul_precision(value),
    _DETERMINISTIC: lambda torch, value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    _ANOMALY: lambda torch, value: torch.autograd.set_detect_anomaly(value[0], check_nan=value[1]),
    _BENCHMARK: lambda torch, value: setattr(torch.backends.cudnn, "benchmark", value),
    _CUDNN: lambda torch, value: setattr(torch.backends.cudnn, "deterministic", value),
}


def _read_torch() -> Items:
    torch = _library("torch")
    items = {
        _DTYPE: str(torch.get_default_dtype()).removeprefix("torch."),
        _GRAD: torch.is_grad_enabled(),
        _PRECISION: torch.get_float32_matmul_precision(),
        _DETERMINISTIC: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        _ANOMALY: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        _BENCHMARK: torch.backends.cudnn.benchmark,
        _CUDNN: torch.backends.cudnn.deterministic,
    }
    device = torch.get_default_device().type if hasattr(torch, "get_default_device") else ""
    return {**items, _DEVICE: device} if device in _DEVICES else items


def _write_torch(key: str, value: Any) -> None:
    _TORCH_WRITERS[key](_library("torch"), value)


_SDP: Final = ("flash_sdp", "mem_efficient_sdp", "math_sdp")
_BACKENDS: Final = {"allow_tf32": True, "enabled": True, **dict.fromkeys(_SDP, True)}
"""Switches of cuDNN, and the kernels of attention (`torch.backends.cuda.enable_flash_sdp`), with their defaults."""


def _read_backends() -> Items:
    """Read the switches. torch refuses to read `allow_tf32` once `fp32_precision` was set: then none is sent."""
    backends = _library("torch").backends
    attention = {name: getattr(backends.cuda, f"{name}_enabled")() for name in _SDP}
    return {"allow_tf32": backends.cudnn.allow_tf32, "enabled": backends.cudnn.enabled, **attention}


def _write_backend(key: str, value: Any) -> None:
    backends = _library("torch").backends
    if key in _SDP:
        getattr(backends.cuda, f"enable_{key}")(value)
    elif key in _BACKENDS:
        setattr(backends.cudnn, key, value)


_TORCH_PRINTING: Final = {"edgeitems": 3, "linewidth": 80, "precision": 4, "sci_mode": None, "threshold": 1000}


def _read_torch_printing() -> Items:
    """Read torch._tensor_str.PRINT_OPTS, tested with torch 2.13; there is no public reader. Without it: no items."""
    options = getattr(_library("torch")._tensor_str, "PRINT_OPTS", None)  # noqa: SLF001 - see above
    return {key: getattr(options, key) for key in _TORCH_PRINTING if hasattr(options, key)}


def _print_torch(key: str, value: Any) -> None:
    torch = _library("torch")
    if key == "sci_mode":
        torch.set_printoptions(sci_mode=value)
        return
    scientific = torch._tensor_str.PRINT_OPTS.sci_mode  # noqa: SLF001 - each call resets `sci_mode`
    torch.set_printoptions(**{key: value}, sci_mode=scientific)


_STRATEGY: Final = "strategy"
_FIRST_STRATEGY: Final = "file_system" if sys.platform in ("darwin", "win32") else "file_descriptor"
"""How processes share tensors unless the program says otherwise (torch 2.13, `torch.multiprocessing`)."""


def _write_sharing(_: str, value: str) -> None:
    sharing = _library("torch.multiprocessing")
    if value in sharing.get_all_sharing_strategies():
        sharing.set_sharing_strategy(value)


# pandas.


class _Pandas:
    """Options from pandas._config.config (1.0 to 3.1); pandas has no public list of defaults. Without it: no items."""

    def __init__(self) -> None:
        self._places: list[tuple[str, dict[str, Any], str, Any]] = []
        self._count = 0
        """Number of registered options at the last lookup of the places."""

    def read(self, asked: Collection[str]) -> Items:
        config = sys.modules.get("pandas._config.config")
        registered: Mapping[str, Any] = getattr(config, "_registered_options", {})
        if self._count != len(registered):
            self._count = len(registered)
            self._places = [(key, *_place(config, key), option.defval) for key, option in registered.items()]
        return {
            key: folder[last]
            for key, folder, last, fresh in self._places
            if (folder[last] is not fresh and not is_same(folder[last], fresh)) or key in asked
        }


def _place(config: Any, key: str) -> tuple[dict[str, Any], str]:
    """Return the dictionary that has an option's value, and the key in the dictionary."""
    folder = config._global_config  # noqa: SLF001 - see `_Pandas`
    *above, last = key.split(".")
    for part in above:
        folder = folder[part]
    return folder, last


def _write_pandas(key: str, value: Any) -> None:
    _library("pandas").set_option(key, value)


# matplotlib.

_OF_THE_SCREEN = (
    "backend",
    "datapath",
    "docstring",
    "interactive",
    "macosx.",
    "savefig.directory",
    "tk.",
    "toolbar",
    "webagg",
)
"""Prefixes of the parameters for the display of figures in one process."""


def _read_parameters(asked: Collection[str]) -> Items:
    matplotlib = _library("matplotlib")
    fresh = matplotlib.rcParamsDefault
    items: Items = {}
    # Plain dict access, because `RcParams` checks each key, which takes ten times as long.
    for key, value in dict.items(matplotlib.rcParams):
        other = dict.get(fresh, key)
        differs = (value is not other and not is_same(value, other)) or key in asked
        if differs and not key.startswith(_OF_THE_SCREEN):
            items[key] = list(value) if type(value) is list else value  # a copy, because a list may be changed in place
    return items


def _write_parameter(key: str, value: Any) -> None:
    _library("matplotlib").rcParams[key] = value


# scikit-learn and plotly.

_SKLEARN: Final = {
    "array_api_dispatch": False,
    "assume_finite": False,
    "display": "diagram",
    "enable_cython_pairwise_dist": True,
    "enable_metadata_routing": False,
    "pairwise_dist_chunk_size": 256,
    "print_changed_only": True,
    "skip_parameter_validation": False,
    "transform_output": "default",
    "working_memory": 1024,
}
_TEMPLATE: Final = "template"


def _read_sklearn() -> Items:
    options: Items = _library("sklearn").get_config()
    return {key: options[key] for key in _SKLEARN.keys() & options.keys()}


def _write_template(_: str, value: Any) -> None:
    _library("plotly.io").templates.default = value


LIBRARIES: Final = (
    settings(
        "numpy printing",
        lambda: _library("numpy").get_printoptions(),
        _print_numpy,
        lambda: _PRINTING,
        "numpy",
        contextual=True,
    ),
    settings(
        "numpy errors",
        _numpy_errors,
        lambda key, value: _library("numpy").seterr(**{key: value}),
        lambda: _ERRORS,
        "numpy",
        contextual=True,
    ),
    settings("torch", _read_torch, _write_torch, lambda: _TORCH, "torch"),
    settings("torch backends", _read_backends, _write_backend, lambda: _BACKENDS, "torch"),
    settings(
        "torch sharing",
        lambda: {_STRATEGY: _library("torch.multiprocessing").get_sharing_strategy()},
        _write_sharing,
        lambda: {_STRATEGY: _FIRST_STRATEGY},
        "torch.multiprocessing",
    ),
    settings("torch printing", _read_torch_printing, _print_torch, lambda: _TORCH_PRINTING, "torch"),
    State("pandas", _Pandas().read, _write_pandas, "pandas"),
    State("matplotlib", _read_parameters, _write_parameter, "matplotlib"),
    settings(
        "sklearn",
        _read_sklearn,
        lambda key, value: _library("sklearn").set_config(**{key: value}),
        lambda: _SKLEARN,
        "sklearn",
    ),
    settings(
        "plotly",
        lambda: {_TEMPLATE: _library("plotly.io").templates.default},
        _write_template,
        lambda: {_TEMPLATE: "plotly"},
        "plotly.io",
    ),
)
