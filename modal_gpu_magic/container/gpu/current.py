"""`modal_gpu_magic.current()`: what a cell's code asks of its container. Ranks and other children may ask, too.

What was asked for, and the GPUs once they are known, stand in two environment variables, so every child has them. In
the notebook's own process there is no container; the answer says so, and the same code runs in both places.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, astuple, dataclass, replace
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
"""Set by the local control plane in a container whose GPUs are not there."""
QUERY: Final = ("index", "uuid", "memory.total", "name")
PATIENCE: Final = 30.0
"""Seconds that nvidia-smi may take; without persistence mode a machine of eight GPUs takes six."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU of the container. `name` is nvidia-smi's. None: nvidia-smi does not say."""

    index: int | None
    uuid: str | None
    name: str | None
    memory_mib: float | None


@dataclass(frozen=True, slots=True)
class Current:
    """Where this code runs.

    Attributes:
        spec: the GPUs that arrived, by the catalog's name: `H100:2`; None: no GPU, or one the catalog does not know.
        asked: the spec and its fallbacks, as the header has them; none: a CPU container.
        gpus: the container's GPUs, by their index.
        rank, local_rank, world_size, node, nodes: as torchrun numbers them; 0, 0, 1, 0, 1 without it.
        backend: `cloud`, `local`; `here`: the notebook's own process, no container.
        simulated: the GPUs are not there: the local backend answers for them.
    """

    spec: str | None = None
    asked: tuple[str, ...] = ()
    gpus: tuple[Device, ...] = ()
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    node: int = 0
    nodes: int = 1
    backend: Literal["cloud", "local", "here"] = "here"
    simulated: bool = False


@interruptible
def current() -> Current:
    """What was asked for and what arrived, and which of its processes this one is.

    The first call of a container may wait for nvidia-smi; later ones, and those of its children, read the environment.
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
    """Let this process and all it starts see what was asked for and, once it has been read, what arrived.

    On the main thread: C code may be reading the environment elsewhere.
    """
    text = json.dumps(asdict(asked))
    if environ.get(ASKED) != text:
        environ[ASKED] = text
    devices = [Device(sample.index, sample.uuid, sample.name, sample.memory_total_mib) for sample in samples]
    if devices and FOUND not in environ:
        environ[FOUND] = json.dumps([astuple(device) for device in devices])


def is_simulated(environ: Mapping[str, str]) -> bool:
    """Whether the container's GPUs are not there."""
    return environ.get(SIMULATED) == "1"


def certain_count(asked: Asked) -> int | None:
    """How many GPUs arrive, whichever of the specs it is; None if that depends."""
    counts = {int(spec.partition(":")[2] or 1) for spec in asked.specs}
    return counts.pop() if len(counts) == 1 else None


@interruptible
def _devices(environ: MutableMapping[str, str]) -> tuple[Device, ...]:
    if FOUND not in environ:
        publish(Asked(**json.loads(environ[ASKED])), _ask(), environ)
    return tuple(Device(*fields) for fields in json.loads(environ.get(FOUND, "[]")))


@interruptible
def _ask() -> list[GpuSample]:
    """The GPUs, from nvidia-smi; none where it cannot say."""
    try:
        asked = subprocess.run(
            command(QUERY), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse(asked.stdout, QUERY)


def _number(environ: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
