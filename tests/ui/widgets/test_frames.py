"""Readings as the page gets them."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

from modal_gpu_magic.metrics.host import HostSample
from modal_gpu_magic.metrics.processes import GpuProcess
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.widgets.frames import FIELDS, frame, process_rows


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
    values = struct.unpack("<24f", frame(_reading(2), since=100.0))
    assert values[:3] == (7.5, 3.0, 2.0)
    assert all(math.isnan(value) for value in values[3:12])
    assert values[12:18] == (50.0, 51.0, 1000.0, 1000.0, 81559.0, 81559.0)
    assert all(math.isnan(value) for value in values[18:20])
    assert values[20:22] == (40.0, 40.0)
    assert all(math.isnan(value) for value in values[22:])


def test_the_container_s_own_figures_stand_before_the_gpus() -> None:
    host = HostSample(50.0, 16.0, 1024.0, 65536.0, None, 2048.0, 4096.0, 1000.0, 2000.0)
    values = struct.unpack("<18f", frame(replace(_reading(1), host=host), since=100.0))
    assert values[3:7] == (50.0, 16.0, 1024.0, 65536.0)
    assert math.isnan(values[7])
    assert values[8:13] == (2048.0, 4096.0, 1000.0, 2000.0, 50.0)


def test_processes_name_their_gpu() -> None:
    samples = (GpuSample(index=1, uuid="GPU-b"),)
    processes = (GpuProcess("GPU-b", 7, 10.0, "x"), GpuProcess("GPU-c", 8))
    assert process_rows(Reading(samples, None, processes)) == [["1", 7, 10.0, "x"], ["–", 8, None, None]]


def test_eight_gpus_take_little() -> None:
    assert len(frame(_reading(8), since=0.0)) == 4 * (3 + 9 + 8 * len(FIELDS)) == 240


def test_a_gpu_whose_clocks_are_held_down_is_marked() -> None:
    reading = Reading(tuple(GpuSample(index=index, clock_reasons=bits) for index, bits in enumerate((0x4, 0x20, None))))
    values = struct.unpack("<30f", frame(reading, since=0.0))
    assert values[27:29] == (0.0, 1.0)
    assert math.isnan(values[29])
