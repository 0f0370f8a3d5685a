"""What both widgets share: readings as the page gets them.

A reading is little-endian float32, NaN where a value is unknown; `js/src/frame.ts` reads it.
"""

from __future__ import annotations

import struct
from math import nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modal_gpu_magic.metrics.history import Measure
    from modal_gpu_magic.metrics.sample import GpuSample, Reading

FIELDS: tuple[Measure | str, ...] = ("utilization", "memory_used_mib", "memory_total_mib", "power_w", "temperature_c")
"""Attributes of a sample that cross, in order: %, MiB, MiB, W, °C."""


def frame(reading: Reading, since: float) -> bytes:
    """One reading: seconds since `since`, node, number of GPUs, then each field of all GPUs. 172 bytes for 8 GPUs."""
    samples = reading.samples
    values = [reading.time - since, samples[0].node, len(samples)]
    values += [_number(sample, field) for field in FIELDS for sample in samples]
    return struct.pack(f"<{len(values)}f", *values)


def _number(sample: GpuSample, field: str) -> float:
    value = getattr(sample, field)
    return nan if value is None else float(value)
