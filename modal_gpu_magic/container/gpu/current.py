"""`modal_gpu_magic.current()`: facts about the container for a cell's code, its ranks and other child processes.

Two environment variables hold the requested GPUs and, once known, the GPUs found, so that all child processes inherit
them. In the notebook's own process `backend` is `kernel`, so the same code runs in both places.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from modal_gpu_magic.container.gpu.sampler import command
from modal_gpu_magic.container.process.interrupt import interruptible
from modal_gpu_magic.metrics.sample import parse
from modal_gpu_magic.wire.messages.events import Asked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

    from modal_gpu_magic.metrics.sample import GpuSample

ASKED: Final = "MODAL_GPU_MAGIC_ASKED"
FOUND: Final = "MODAL_GPU_MAGIC_GPUS"
SIMULATED: Final = "MODAL_GPU_SIMULATED"
"""Set by the local control plane in a container whose GPUs are simulated."""
QUERY: Final = ("index", "uuid", "memory.total", "name")
SMI_SECONDS: Final = 30.0
"""Seconds that nvidia-smi may take; without persistence mode, a machine with eight GPUs takes six."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU of the container. None: nvidia-smi reports no value.

    Attributes:
        index: number of the GPU.
        uuid: UUID of the GPU.
        name: nvidia-smi's name.
        memory_mib: total memory in MiB.
    """

    index: int | None
    uuid: str | None
    name: str | None
    memory_mib: float | None


@dataclass(frozen=True, slots=True)
class Current:
    """The container, or the notebook's process, in which this code runs.

    Attributes:
        spec: the GPUs received, by the catalog's name: `H100:2`; None: no GPU, or a GPU unknown to the catalog.
        asked: the requested spec and its fallbacks, as in the header; empty: a CPU container.
        gpus: the container's GPUs, by their index.
        rank: torchrun's number of this process; 0 without torchrun.
        local_rank: torchrun's number of this process on its node; 0 without torchrun.
        world_size: number of ranks; 1 without torchrun.
        node: torchrun's number of this node; 0 without torchrun.
        nodes: number of nodes; 1 without torchrun.
        backend: `cloud` or `local`; `kernel`: the notebook's own process, no container.
        simulated: whether the local backend simulates the GPUs.
    """

    spec: str | None = None
    asked: tuple[str, ...] = ()
    gpus: tuple[Device, ...] = ()
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    node: int = 0
    nodes: int = 1
    backend: Literal["cloud", "local", "kernel"] = "kernel"
    simulated: bool = False


@interruptible
def current() -> Current:
    """Return the requested GPUs, the GPUs received, and the number of this process among the ranks.

    The first call in a container may wait for nvidia-smi; later calls, also in child processes, read the environment.
    """
    environ = os.environ
    alone = Current(
        rank=_number(environ, "RANK", 0),
        local_rank=_number(environ, "LOCAL_RANK", 0),
        world_size=_number(environ, "WORLD_SIZE", 1),
        node=_number(environ, "GROUP_RANK", 0),
        nodes=_number(environ, "GROUP_WORLD_SIZE", 1),
    )
    if ASKED not in environ:
        return alone
    asked = Asked(**json.loads(environ[ASKED]))
    devices = _devices(environ) if asked.specs else ()
    known = [asked.names.get(device.name or "") for device in devices]
    spec = known[0] if known and len(set(known)) == 1 else None
    return replace(
        alone,
        spec=spec if spec is None or len(known) == 1 else f"{spec}:{len(known)}",
        asked=tuple(asked.specs),
        gpus=devices,
        backend="cloud" if asked.backend == "cloud" else "local",
        simulated=is_simulated(environ),
    )


def publish(asked: Asked, samples: Iterable[GpuSample], environ: MutableMapping[str, str]) -> None:
    """Set the environment variables with the requested GPUs and, once known, the GPUs received.

    Call this on the main thread only: C code in other threads may read the environment.
    """
    text = json.dumps({"specs": asked.specs, "backend": asked.backend, "names": asked.names})
    if environ.get(ASKED) != text:
        environ[ASKED] = text
    devices = [Device(sample.index, sample.uuid, sample.name, sample.memory_total_mib) for sample in samples]
    if devices and FOUND not in environ:
        environ[FOUND] = json.dumps([astuple(device) for device in devices])


def is_simulated(environ: Mapping[str, str]) -> bool:
    """Whether the container's GPUs are simulated."""
    return environ.get(SIMULATED) == "1"


def certain_count(asked: Asked) -> int | None:
    """Return the number of GPUs if all specs have the same number; else None."""
    counts = {int(spec.partition(":")[2] or 1) for spec in asked.specs}
    return counts.pop() if len(counts) == 1 else None


@interruptible
def _devices(environ: MutableMapping[str, str]) -> tuple[Device, ...]:
    if FOUND not in environ:
        publish(Asked(**json.loads(environ[ASKED])), _query(), environ)
    return tuple(Device(*fields) for fields in json.loads(environ.get(FOUND, "[]")))


@interruptible
def _query() -> list[GpuSample]:
    """Read the GPUs from nvidia-smi; empty if nvidia-smi is missing or fails."""
    try:
        asked = subprocess.run(
            command(QUERY), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SMI_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse(asked.stdout, QUERY)


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else default
