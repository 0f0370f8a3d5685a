"""Dashboards of made-up readings, as cells of a notebook: every state without waiting for a run."""

from __future__ import annotations

from typing import Final

FEED: Final = """
import math, threading, time
from dataclasses import replace
from IPython.display import display
from modal_gpu_magic.metrics.host import HostSample
from modal_gpu_magic.metrics.processes import GpuProcess
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown

HOST = HostSample(46.0, 16.0, 9000.0, 131072.0, 4.2e6, 26000.0, 520000.0, 2.4e6, 3e5)

def readings(nodes, gpus, ticks=90, host=HOST, processes=0, began=1000.0, **fields):
    for tick in range(ticks):
        for node in range(nodes):
            def wave(index, low, high):
                return low + (high - low) * (0.5 + 0.5 * math.sin(tick / 9 + index * 0.8 + node))
            samples = tuple(
                replace(
                    GpuSample(time=began + tick, index=index, uuid=f"GPU-{node}-{index}", name="NVIDIA H100 80GB HBM3",
                              utilization=round(wave(index, 40, 98)), memory_used_mib=wave(index, 9000, 60000),
                              memory_total_mib=81559.0, power_w=wave(index, 200, 650),
                              temperature_c=wave(index, 45, 80), clock_reasons=0, node=node),
                    **fields)
                for index in range(gpus)
            )
            own = host and replace(host, cpu=wave(0, 20, 70), received=wave(1, 1e5, 9e6), sent=wave(2, 1e4, 2e6))
            table = tuple(GpuProcess(f"GPU-{node}-{place % gpus}", 4711 + place, 20480.0, "/usr/bin/python3")
                          for place in range(processes))
            yield Reading(samples, own, table)

def feed(nodes=1, gpus=1, asked="H100", backend="cloud", shown=(), **given):
    pressed = threading.Event()
    head = Shown("running", f"running on {asked}", time.time() - 90, asked, backend, hourly=3.95, cost=0.1, **dict(shown))
    dashboard = Dashboard(head, pressed.set, nodes)
    display(dashboard)
    for reading in readings(nodes, gpus, **given):
        dashboard.sample(reading)
    return dashboard, pressed
"""

SIMULATED: Final = "driver='simulated', power_w=None, temperature_c=None, clock_reasons=None, utilization=46.0"
STATES: Final = {
    "1-gpu": "made = feed(1, 1, processes=1)",
    "2-gpus": "made = feed(1, 2, 'H100:2', processes=2, shown={'detail': 'It began again at 14:05, from its first line.'})",
    "4-gpus": "made = feed(1, 4, 'H100:4', power_w=None)",
    "8-gpus": "made = feed(1, 8, 'H100:8', processes=8, shown={'got': 'H200:8', 'before': 1.5, "
    "'notices': ('GPU 3 is throttled: SW thermal slowdown.',)})",
    "no-host": "made = feed(1, 2, 'H100:2', host=None, power_w=None, temperature_c=None)",
    "simulated": f"made = feed(1, 8, 'H100:8', 'local', shown={{'simulated': True}}, {SIMULATED})",
    "cluster": "made = feed(4, 8, '4 x H100:8')",
    "simulated-cluster": f"made = feed(2, 8, '2 x H100:8', 'local', shown={{'simulated': True}}, {SIMULATED})",
    "few": "made = feed(1, 2, 'H100:2', ticks=2)",
}
"""By name, the cell that shows a state."""
