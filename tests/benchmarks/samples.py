"""What sampling costs while a cell does nothing: our process, beside one without GPUs, and the simulated nvidia-smi."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psutil

from tests.benchmarks.table import Row
from tests.e2e.kernel import Kernel

SECONDS = 20
CELL = f"""
import time
time.sleep(3)
began = time.process_time()
time.sleep({SECONDS})
spent = time.process_time() - began
"""


def sampling() -> Iterator[Row]:
    """Parts of a core: 8 GPUs, a reading a second, as events to the notebook."""
    with Kernel() as kernel:
        kernel.load()
        with_samples, smi = _cell(kernel, "H100:8")
        without, _ = _cell(kernel, "--session cpu --image slim")
        count = kernel.print("len((m := get_ipython().run_line_magic('modal_gpu', 'metrics')).samples(m.gpus[0]))")
    if int(count) < SECONDS:
        raise AssertionError(f"{count} readings in {SECONDS} s")
    yield _part(
        "sampling 8 GPUs, our process", with_samples, f"without GPUs {_percent(without)}", with_samples - without
    )
    yield _part("the simulated nvidia-smi, 8 GPUs", smi, "–", smi)


def _cell(kernel: Kernel, header: str) -> tuple[float, float]:
    """Processor seconds a second of the container's process, and of the nvidia-smi in it."""
    result = kernel.remote(CELL, header, timeout=120)
    if not result.ok:
        raise AssertionError(result.error)
    programs = [process for process in kernel.processes() if any("smi_program" in word for word in process.cmdline())]
    smi = sum((_spent(process) for process in programs), 0.0)
    return float(kernel.print("spent")) / SECONDS, smi


def _spent(process: psutil.Process) -> float:
    """Processor seconds a second of a process's life, its start included."""
    times = process.cpu_times()
    return float(times.user + times.system) / (time.time() - process.create_time())


def _part(what: str, ours: float, yardstick: str, figure: float) -> Row:
    return Row(what, _percent(ours), yardstick, 100 * figure, " %", 1.0, 0.3)


def _percent(part: float) -> str:
    return f"{100 * part:.2f} % of a core"


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (sampling,)
