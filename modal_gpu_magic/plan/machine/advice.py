"""Advice from the readings of a run: the GPU in use, a smaller or a larger GPU, and a header that requests it.

Pure; readings are numbers. The advice considers memory only, not speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.gpus import GPUS, Gpu, recognise
from modal_gpu_magic.catalog.prices import region_factor
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.quote import rate

if TYPE_CHECKING:
    from modal_gpu_magic.line.parse import Line

HEADROOM = 1.1
"""Factor from the measured peak to the required memory: one reading per second may miss the real peak."""

BF16 = 8.0
"""Smallest compute capability of a GPU with bf16 and flash attention."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A cheaper GPU that would have sufficed for the session so far.

    Attributes:
        spec: the GPU.
        saving: USD saved per hour.
    """

    spec: GpuSpec
    saving: float

    def __str__(self) -> str:
        """`an L4 would fit: saves $3.15/h`."""
        one = "an" if self.spec.name[0] in "AHLR" else "a"
        return f"{one + ' ' if self.spec.count == 1 else ''}{self.spec} would fit: saves {rate(self.saving)}"


def arrived(smi_name: str | None, memory_mib: float | None, count: int) -> GpuSpec | None:
    """Return the container's GPUs as a spec; None: the catalog does not have them.

    Args:
        smi_name: name of the GPU, as nvidia-smi prints it.
        memory_mib: memory of the GPU, MiB; None: unknown.
        count: number of GPUs.
    """
    gpu = recognise(smi_name or "", None if memory_mib is None else round(memory_mib))
    return GpuSpec(gpu.name, count) if gpu and 1 <= count <= gpu.max_count else None


def smaller(got: GpuSpec, billed: GpuSpec, peak_mib: float, region: str | None = None) -> Advice | None:
    """Return the cheapest GPU, in the same number, with memory for the peak; None: no GPU saves money.

    A GPU without bf16 is not recommended after a run on a GPU with bf16, because the run may use bf16.

    Args:
        got: the GPUs of the container.
        billed: the spec that is billed.
        peak_mib: the largest memory in use on any of the GPUs, MiB.
        region: a pinned region; None: any.
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
    saving = (billed.price_per_hour - (spec.price_per_hour or 0.0)) * region_factor(region) if spec else 0.0
    return Advice(spec, saving) if spec and saving > 0 else None


def larger(spec: GpuSpec, need_mib: float = 0.0) -> GpuSpec | None:
    """Return the next larger GPU, in the same number, the cheapest of several; None: no GPU is larger.

    Args:
        spec: the GPU that was too small.
        need_mib: memory that is known to be needed, MiB; 0: unknown.
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
    """Return a header with its specs replaced by `spec`: `%%modal_gpu A100-80GB --timeout 2h`.

    Environment variables are left out, which may be secrets: the session's machine has them already.
    """
    if line is None:
        return f"%%modal_gpu {spec}"
    return f"%%modal_gpu {replace(line, specs=(spec,), machine=None, options=replace(line.options, env=None))}"


def _capability(gpu: Gpu) -> float:
    return float(gpu.compute_capability.split()[0])
