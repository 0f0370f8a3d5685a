"""Remarks shown once before a machine starts, one line each: its price, the build time of its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.plan.machine.definition import not_applied
from modal_gpu_magic.plan.machine.layers import compiles
from modal_gpu_magic.plan.machine.quote import dearer_fallbacks, quote, rate
from modal_gpu_magic.sdk.image import local_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.line.spec import GpuSpec
    from modal_gpu_magic.plan.machine.definition import Machine

NAMED = 3
"""Maximum number of fallbacks listed by name; of more, only the dearest is named."""


def remarks(machine: Machine, backend: str) -> tuple[str, ...]:
    """The remarks on a machine before it starts; empty for an ordinary machine."""
    missing = not_applied(machine) if backend == "local" else ()
    lines = (
        f"Not applied by the local backend: {'; '.join(missing)}." if missing else "",
        _dearer(machine.gpus, machine.region),
        compiles(machine, local_version),
    )
    return tuple(line for line in lines if line)


def _dearer(specs: Sequence[GpuSpec], region: str | None) -> str:
    """A line about the fallbacks that cost more than the first choice; empty: none does."""

    def price(spec: GpuSpec) -> str:
        return rate(quote(spec, region=region).per_hour)

    dearer = dearer_fallbacks(specs)
    if not dearer:
        return ""
    what = f"costs more than {specs[0]} ({price(specs[0])})"
    if len(dearer) > NAMED:
        dearest = max(dearer, key=lambda spec: spec.price_per_hour or 0)
        top = f"{dearest} at {price(dearest)}"
        return f"Each of {len(dearer)} fallbacks {what}, {top} the most; Modal bills the GPU it gives."
    named = ", ".join(f"{spec} ({price(spec)})" for spec in dearer)
    return f"A fallback {what}: {named}; Modal bills the GPU it gives."
