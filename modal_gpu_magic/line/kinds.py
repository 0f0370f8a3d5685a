"""The kinds of option values: how each is shown, parsed and written, and whether it repeats.

The readers are in `readers` and `units`; the table in `options` assigns a kind and a meaning to each option.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modal_gpu_magic.catalog import limits
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.catalog.prices import BROAD_REGIONS
from modal_gpu_magic.line import models, readers
from modal_gpu_magic.line.scan import Span
from modal_gpu_magic.line.units import read_duration, read_size, write_duration, write_size


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    Attributes:
        metavar: the name of the value in help; empty for a flag, which takes no value.
        example: a valid value.
        read: parses the text of one value; raises LineError.
        write: formats a value as a text that parses to the same value.
        unit: unit of the parsed value.
        many: whether the option repeats; its value is then a tuple without duplicates, sorted unless `ordered`.
        ordered: whether the order of the values matters.
        cut: finds the values in one word; None: a word is one value.
        claims: the keys that a value occupies; two different values of an option with the same key conflict.
        choices: values for completion.
        alone: value of the option without a value on the line; None: a value is required.
        secret: whether values may be secrets, which no message shows.
    """

    metavar: str
    example: str
    read: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    unit: str = ""
    many: bool = False
    ordered: bool = False
    cut: Callable[[str], list[Span]] | None = None
    claims: Callable[[Any], tuple[str, ...]] | None = None
    choices: tuple[str, ...] = ()
    alone: Any = None
    secret: bool = False


def _at_commas(text: str) -> list[Span]:
    return _between(text, [index for index, char in enumerate(text) if char == ","])


def _at_packages(text: str) -> list[Span]:
    """Split between requirements: not at the commas of extras (`x[a,b]`) and of versions (`torch>=2,<3`)."""
    ends = [match.start() for match in re.finditer(r",(?=\s*(?:[A-Za-z,-]|$))", text)]
    return _between(text, [end for end in ends if text.count("[", 0, end) <= text.count("]", 0, end)])


def _between(text: str, commas: list[int]) -> list[Span]:
    return list(zip([0, *(comma + 1 for comma in commas)], [*commas, len(text)], strict=True))


def _write_env(pair: tuple[str, str | None]) -> str:
    name, value = pair
    return name if value is None else f"{name}={value}"


_MIB = 1 << 20
_LEAST_MEMORY = 128 * _MIB
_read_memory = readers.ranged(read_size, write_size, _LEAST_MEMORY)

BACKENDS = ("cloud", "local")
"""The backends: Modal's cloud, and the control plane on this machine."""

FLAG = Kind("", "")
IMAGE = Kind("PRESET|REF|VARIABLE", "cuda", readers.read_image, choices=tuple(PRESETS))
PACKAGES = Kind(
    "PACKAGE,...",
    "einops",
    readers.read_package,
    many=True,
    cut=_at_packages,
    claims=lambda package: (readers.package_name(package),),
)
DEBIAN = Kind(
    "PACKAGE,...",
    "ffmpeg",
    readers.read_debian,
    many=True,
    cut=_at_commas,
    claims=lambda package: (package.partition("=")[0],),
)
COMMAND = Kind("COMMAND", "'make -C /src'", many=True, ordered=True)
PYTHON = Kind("3.N", "3.12", readers.read_python)
VOLUMES = Kind("NAME:/PATH,...", "d:/d", readers.read_volume, ":".join, many=True, cut=_at_commas, claims=tuple)
OBJECTS = Kind("NAME,...", "huggingface", readers.read_object, many=True, cut=_at_commas)
ENV = Kind(
    "KEY=VALUE|NAME", "DEBUG=1", readers.read_env, _write_env, many=True, claims=lambda pair: pair[:1], secret=True
)
CORES = Kind("CORES", "4", readers.read_cores, lambda cores: str(cores).removesuffix(".0"), unit="cores")
MEMORY = Kind(
    "SIZE",
    "16GB",
    lambda text: -(-_read_memory(text) // _MIB),  # rounded up to a whole MiB
    lambda mib: write_size(mib * _MIB),
    unit="MiB",  # Modal's unit
)
REGION = Kind("REGION|any", "us-east", readers.read_region, choices=(*BROAD_REGIONS, readers.ANY_REGION))
KEEP_WARM = Kind(
    "DURATION",
    "10m",
    readers.ranged(read_duration, write_duration, *limits.SCALEDOWN_SECONDS),
    write_duration,
    unit="seconds",
)
SESSION = Kind("NAME", "big", readers.read_session)
BACKEND = Kind("|".join(BACKENDS), "local", readers.listed(BACKENDS, "a backend"), choices=BACKENDS)
TIMEOUT = Kind(
    "DURATION",
    "2h",
    readers.ranged(read_duration, write_duration, 1, limits.FUNCTION_TIMEOUT),
    write_duration,
    unit="seconds",
)
START_TIMEOUT = Kind(
    "DURATION",
    "40m",
    readers.ranged(read_duration, write_duration, 1, limits.FUNCTION_TIMEOUT),
    write_duration,
    unit="seconds",
)
VARIABLES = Kind("NAME,...", "x", readers.read_variable, many=True, cut=_at_commas)
PROCESSES = Kind("[N]", "4", readers.ranged(readers.read_whole, str, 1, 1_024), readers.write_processes, alone=0)
"""Processes on each node; 0: one per GPU."""
NODES = Kind("N", "4", readers.ranged(readers.read_whole, str, 1, limits.CLUSTER_NODES))
RANKS = Kind("all|RANK,...", "0,3", readers.read_rank, many=True, cut=_at_commas, choices=("all",))
MODEL = Kind("PARAMETERS", "13B", models.read_name)
TASK = Kind("TASK", "lora", models.read_task, choices=models.TASKS)
DTYPE = Kind("DTYPE", "int8", models.read_dtype, choices=tuple(models.BYTES))
BUDGET = Kind("DOLLARS", "5", models.read_budget, "{:g}".format, unit="USD an hour")
SIZE = Kind("SIZE", "100MB", read_size, write_size, unit="bytes")
SERVICE = Kind("NAME", "embed", readers.read_service)
BACKGROUND = Kind("NAME", "train", readers.read_background)
LEAST = Kind("N", "1", readers.counted(0, limits.SERVICE_COUNT), str)
COUNT = Kind("N", "4", readers.counted(1, limits.SERVICE_COUNT), str)
BATCH = Kind("N", "32", readers.counted(*limits.BATCH_SIZES), str, unit="calls")
WAIT_MS = Kind("MS", "100", readers.counted(*limits.BATCH_WAIT_MS), str, unit="milliseconds")
