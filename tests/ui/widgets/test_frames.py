"""Readings as the page gets them."""

from __future__ import annotations

import math
import struct

from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.widgets.frames import FIELDS, frame


def _reading(count: int) -> Reading:
    return Reading(
        tuple(
            GpuSample(
                time=107.5,
                index=index,
                utilization=50.0 + index,
                memory_used_mib=1000.0,
                memory_total_mib=81559.0,
                power_w=None,
                temperature_c=40.0,
                node=3,
            )
            for index in range(count)
        )
    )


def test_fields_stand_behind_each_other_and_unknown_is_not_a_number() -> None:
    values = struct.unpack("<15f", frame(_reading(2), since=100.0))
    assert values[:9] == (7.5, 3.0, 2.0, 50.0, 51.0, 1000.0, 1000.0, 81559.0, 81559.0)
    assert all(math.isnan(value) for value in values[9:11])
    assert values[11:13] == (40.0, 40.0)
    assert all(math.isnan(value) for value in values[13:])


def test_eight_gpus_take_little() -> None:
    assert len(frame(_reading(8), since=0.0)) == 4 * (3 + 8 * len(FIELDS)) == 204


def test_a_gpu_whose_clocks_are_held_down_is_marked() -> None:
    reading = Reading(tuple(GpuSample(index=index, clock_reasons=bits) for index, bits in enumerate((0x4, 0x20, None))))
    values = struct.unpack("<21f", frame(reading, since=0.0))
    assert values[18:20] == (0.0, 1.0)
    assert math.isnan(values[20])
