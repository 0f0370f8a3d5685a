"""What both widgets share: readings as the page gets them, and words where widgets are not shown.

A reading is little-endian float32, NaN where a value is unknown; `js/src/frame.ts` reads it.
"""

from __future__ import annotations

import struct
from math import nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modal_gpu_magic.metrics.history import Measure
    from modal_gpu_magic.metrics.sample import GpuSample, Reading

KEPT = 2400
"""Readings of a node that are kept for a page that comes later: ten minutes of four a second, forty of one."""
FIELDS: tuple[Measure | str, ...] = (
    *("utilization", "memory_used_mib", "memory_total_mib", "power_w", "temperature_c", "throttled"),
)
"""Attributes of a sample that cross, in order: %, MiB, MiB, W, °C, 1 where its clocks are held down."""


def frame(reading: Reading, since: float) -> bytes:
    """One reading: seconds since `since`, node, number of GPUs, then each field of all GPUs. 204 bytes for 8 GPUs."""
    samples = reading.samples
    values = [reading.time - since, samples[0].node, len(samples)]
    values += [_number(sample, field) for field in FIELDS for sample in samples]
    return struct.pack(f"<{len(values)}f", *values)


def _number(sample: GpuSample, field: str) -> float:
    value = getattr(sample, field)
    return nan if value is None else float(value)


def with_words(made: Any, words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A widget's mime bundle and its metadata (Colab's are there), saying this where widgets are not shown."""
    bundle, metadata = made if isinstance(made, tuple) else (made, {})
    return {**bundle, "text/plain": words}, metadata
