"""Functions of both widgets: pack readings for the page, and add text for front ends without widgets.

A packed reading is little-endian float32, NaN for unknown values; `js/src/frame.ts` unpacks it.
"""

from __future__ import annotations

import struct
from math import nan
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.metrics.host import HostSample

if TYPE_CHECKING:
    from modal_gpu_magic.metrics.history import Measure
    from modal_gpu_magic.metrics.sample import Reading

MAX_READINGS_PER_NODE = 2400
"""Readings kept for pages that open later: 10 minutes at 4 per second, 40 minutes at 1 per second."""
FIELDS: tuple[Measure | str, ...] = (
    *("utilization", "memory_used_mib", "memory_total_mib", "power_w", "temperature_c", "throttled"),
)
"""Fields of a sample in a packed reading, in order: %, MiB, MiB, W, °C, 1 if the clocks are throttled."""
UNKNOWN = "–"
UNKNOWN_HOST = HostSample()


def frame(reading: Reading, since: float) -> bytes:
    """Pack a reading: seconds since `since`, node, number of GPUs, the container's figures, each field of all GPUs.

    240 bytes for 8 GPUs.
    """
    samples = reading.samples
    values = [reading.time - since, reading.node, len(samples)]
    values += [_number(value) for value in (reading.host or UNKNOWN_HOST).row]
    values += [_number(getattr(sample, field)) for field in FIELDS for sample in samples]
    return struct.pack(f"<{len(values)}f", *values)


def process_rows(reading: Reading) -> list[list[Any]]:
    """Return the processes of a reading in the format of `js/src/processes.ts`: GPU, process id, MiB, name."""
    names = {sample.uuid: sample.index for sample in reading.samples}
    return [[_text(names.get(each.gpu_uuid)), each.pid, each.memory_mib, each.name] for each in reading.processes]


def _text(index: int | None) -> str:
    return UNKNOWN if index is None else str(index)


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


def with_text(made: Any, words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a widget's mime bundle with plain text for front ends without widgets, and its metadata, set for Colab."""
    bundle, metadata = made if isinstance(made, tuple) else (made, {})
    return {**bundle, "text/plain": words}, metadata
