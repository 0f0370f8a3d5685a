"""What a run's readings lead to: which GPU arrived, a cheaper one that would have held it, a larger one, the line.

Pure; readings come in as numbers. What would be faster is not judged here: memory alone decides what fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.gpus import GPUS, Gpu, recognise
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.quote import rate

if TYPE_CHECKING:
    from modal_gpu_magic.line.parse import Line

HEADROOM = 1.1
"""How much more memory than the peak a GPU must have: a reading a second misses the highest moment."""

BF16 = 8.0
"""Compute capability from which a GPU does bf16 and flash attention."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A cheaper GPU that would have held what a session needed so far, and USD an hour it saves."""

    spec: GpuSpec
    saving: float

    def __str__(self) -> str:
        """`an L4 would fit: saves $3.15/h`."""
        one = "an" if self.spec.name[0] in "AHLR" else "a"
        return f"{one + ' ' if self.spec.count == 1 else ''}{self.spec} would fit: saves {rate(self.saving)}"


def arrived(smi_name: str | None, memory_mib: float | None, count: int) -> GpuSpec | None:
    """What arrived, by the catalog's name; None for GPUs it does not know.

    Args:
        smi_name: a GPU's name, as nvidia-smi prints it.
        memory_mib: its memory, MiB; None: not known.
        count: how many arrived.
    """
    gpu = recognise(smi_name or "", None if memory_mib is None else round(memory_mib))
    return GpuSpec(gpu.name, count) if gpu and 1 <= count <= gpu.max_count else None


def smaller(got: GpuSpec, billed: GpuSpec, peak_mib: float) -> Advice | None:
    """The cheapest GPU, as many as there were, that would have held the peak; None if that saves nothing.

    A GPU without bf16 is no advice for a run on one that has it: the run may use it.

    Args:
        got: what arrived.
        billed: the spec that is paid for.
        peak_mib: the most memory in use on any of the GPUs, MiB.
    """
    if got.gpu is None or billed.price_per_hour is None:
        return None
    fits = [
        GpuSpec(gpu.name, got.count)
        for gpu in GPUS.values()
        if gpu.pinned
        and got.count <= gpu.max_count
        and (gpu.nvidia_smi_memory_mib or 0) >= peak_mib * HEADROOM
        and min(_capability(got.gpu), BF16) <= _capability(gpu)
    ]
    spec = min(fits, key=lambda each: each.price_per_hour or 0.0, default=None)
    saving = billed.price_per_hour - (spec.price_per_hour or 0.0) if spec else 0.0
    return Advice(spec, saving) if spec and saving > 0 else None


def larger(spec: GpuSpec, need_mib: float = 0.0) -> GpuSpec | None:
    """The GPU with the next more memory, as many of it, the cheapest of several; None if there is none.

    Args:
        spec: what was too small.
        need_mib: memory that would have been enough for what is known, MiB; 0: nothing is known.
    """
    if spec.gpu is None:
        return None
    more = [
        gpu
        for gpu in GPUS.values()
        if gpu.pinned
        and gpu.vram_gb > spec.gpu.vram_gb
        and (gpu.nvidia_smi_memory_mib or 0) >= need_mib
        and spec.count <= gpu.max_count
    ]
    best = min(more, key=lambda gpu: (gpu.vram_gb, gpu.price_per_second), default=None)
    return GpuSpec(best.name, spec.count) if best else None


def ready_line(line: Line | None, spec: GpuSpec) -> str:
    """A header with this spec for those it has, all else as it is: `%%modal_gpu A100-80GB --timeout 2h`.

    Environment variables are left out, which may be secrets: the session's machine has them already.
    """
    if line is None:
        return f"%%modal_gpu {spec}"
    return f"%%modal_gpu {replace(line, specs=(spec,), machine=None, options=replace(line.options, env=None))}"


def _capability(gpu: Gpu) -> float:
    return float(gpu.compute_capability.split()[0])
