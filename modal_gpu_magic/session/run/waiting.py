"""Sentences that explain why a run has not begun and suggest remedies. Pure functions.

Modal does not report why a container has not started. The local control plane starts a container at once unless other
containers hold the machine's GPUs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.definition import specs_text

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.choice import Kind


def queue_words(machine: Machine, kind: Kind) -> str:
    """Explain a run without a container: `Modal has given no container yet. A100-80GB would do, too.`."""
    if kind == "local":
        return (
            "Other containers hold this machine's GPUs: the cell starts when enough are free." if machine.gpus else ""
        )
    first, *fallbacks = machine.gpus or (None,)
    words = ["Modal has given no container yet"]
    if machine.nodes > 1:
        words.append(f"All {machine.nodes} nodes come together")
    if fallbacks:
        words.append(f"{specs_text(tuple(machine.gpus[1:]))} would run it, too")
    elif other := _other(first, machine.nodes):
        words.append(f"A fallback may come sooner: `{first} {other}`")
    if first is not None and first.strict and first.gpu is not None:
        others = " or ".join(name for name in first.gpu.gives if name != first.name)
        words.append(f"Without the `!`, {others} could run it")
    if machine.region is not None:
        words.append(f"Only {machine.region} is asked")
    return f"{'. '.join(words)}."


def _other(spec: GpuSpec | None, nodes: int) -> GpuSpec | None:
    """The cheapest other GPU with as much memory; None: none exists."""
    if spec is None or spec.gpu is None or nodes > 1:
        return None
    enough = [
        gpu
        for gpu in GPUS.values()
        if gpu.name not in (spec.name, *spec.gives) and gpu.in_reference
        if gpu.vram_gb >= spec.gpu.vram_gb and gpu.max_count >= spec.count
    ]
    return GpuSpec(min(enough, key=lambda gpu: gpu.price_per_second).name, spec.count) if enough else None


def image_words(machine: Machine) -> str:
    """Describe the content of an image that is being built."""
    what = "your own" if machine.image_object is not None else machine.image
    added = [*machine.pip, *machine.apt, *(["your commands"] if machine.run else [])]
    return f"The image: {what}{' with ' + ', '.join(added) if added else ''}. Built once, then cached."
