"""The live table of a terminal: the status, a row a GPU, unknown as a dash."""

from __future__ import annotations

import io

from rich.console import Console

from modal_gpu_magic.metrics.sample import GpuSample
from modal_gpu_magic.ui.fronts.terminal import gpu_table


def _shown(*samples: GpuSample) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=100).print(gpu_table("running on H100:2 0:41", samples))
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


def test_a_row_a_gpu_below_the_status() -> None:
    first = GpuSample(index=0, utilization=87.4, memory_used_mib=10035, memory_total_mib=81559, power_w=590.2)
    second = GpuSample(index=1, temperature_c=64)
    assert _shown(first, second) == [
        "running on H100:2 0:41",
        "GPU 0 87 % 9.8 of 80 GiB 590 W – °C",
        "GPU 1 – % – – W 64 °C",
    ]


def test_simulated_is_said_once() -> None:
    lines = _shown(*(GpuSample(index=index, driver="simulated", memory_used_mib=30) for index in range(8)))
    assert lines[0] == "running on H100:2 0:41 · figures of this machine's CPU and memory, the GPUs are simulated"
    assert lines[1] == "GPU 0 – % 30 MiB – W – °C"
    assert " ".join(lines).count("simulated") == 1


def test_nodes_are_named_where_there_are_several() -> None:
    lines = _shown(GpuSample(index=0, node=0), GpuSample(index=0, node=1))
    assert [line[:12] for line in lines[1:]] == ["node 0 GPU 0", "node 1 GPU 0"]


def test_before_a_reading_there_is_the_status_alone() -> None:
    assert [line for line in _shown() if line] == ["running on H100:2 0:41"]
