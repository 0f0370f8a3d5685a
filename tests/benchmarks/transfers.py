"""Figures of values: a gigabyte to the session and back, beside one plain write of a gigabyte to shared memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tests.benchmarks.cells import HEADER, LOAD
from tests.benchmarks.table import Row, ratio, seconds
from tests.e2e.kernel import Kernel

_TOOLS = """
import json, os, time
def plain_write(data):
    path = f"/dev/shm/mgm-bench-{os.getpid()}"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    view, began = memoryview(data).cast("B"), time.perf_counter()
    while view: view = view[os.write(fd, view):]
    took = time.perf_counter() - began
    os.close(fd); os.unlink(path)
    return took
def peak(reset=False):
    if reset: open("/proc/self/clear_refs", "w").write("5")
    rows = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(rows["VmHWM"].split()[0]) * 1024
def timed(cell):
    began = time.perf_counter(); get_ipython().run_cell(cell, store_history=False)
    return time.perf_counter() - began
"""

_NUMPY = """
import numpy as np
big = np.random.default_rng(0).random(125_000_000)
yard = min(plain_write(big) for _ in range(2))
base = peak(reset=True)
there = timed("%%modal_gpu --quiet\\nseen = big[0]")
over = peak() - base
again = timed("%%modal_gpu --quiet\\nseen = big[1]")
timed("%%modal_gpu --quiet --fetch 1MB\\nmade = np.ones(125_000_000)")
base = peak(reset=True)
back = timed("%%modal_gpu --quiet --fetch 2GB\\nmade = made")
over_back = peak() - base - made.nbytes
print(json.dumps([yard, there, again, back, over, over_back]))
"""

_TORCH = """
import torch
state = {f"layer{i}": torch.randn(10_000_000) for i in range(25)}
yard = min(plain_write(state["layer0"].numpy()) for _ in range(2)) * 25
there = timed("%%modal_gpu --quiet\\nseen = state['layer0'][0]")
again = timed("%%modal_gpu --quiet\\nseen = state['layer0'][1]")
timed("%%modal_gpu --quiet --fetch 1MB\\nmade = {k: v + 1 for k, v in state.items()}")
back = timed("%%modal_gpu --quiet --fetch 2GB\\nmade = made")
print(json.dumps([yard, there, again, back]))
"""


def numpy_gigabyte() -> Iterator[Row]:
    """1 GB of numpy there, there again unchanged, and back; the kernel's memory beyond it."""
    with Kernel() as kernel:
        _ready(kernel, "numpy as np")
        yard, there, again, back, over, over_back = json.loads(kernel.run(_NUMPY, timeout=300).stdout)
    yield ratio("1 GB numpy there", there, ("plain write", yard), 2.0, 1.2)
    yield seconds("the same again, unchanged", again, 0.2, 0.1)
    yield ratio("1 GB numpy back", back, ("plain write", yard), 3.0, 1.5)
    megabytes = max(over, over_back) / 1e6
    yield Row("kernel memory beyond the value", f"{megabytes:.0f} MB", "–", megabytes, " MB", 300, 100)


def torch_gigabyte() -> Iterator[Row]:
    """1 GB of a torch state dict there, there again unchanged, and back."""
    with Kernel() as kernel:
        _ready(kernel, "torch")
        yard, there, again, back = json.loads(kernel.run(_TORCH, timeout=300).stdout)
    yield ratio("1 GB torch there", there, ("plain write", yard), 2.0, 1.2)
    yield seconds("the same again, unchanged", again, 0.2, 0.1)
    yield ratio("1 GB torch back", back, ("plain write", yard), 3.0, 1.5)


def _ready(kernel: Kernel, module: str) -> None:
    """A warm session that has the library loaded, as in the second cell of a notebook."""
    kernel.run(LOAD)
    kernel.run(_TOOLS)
    kernel.run(f"{HEADER}\nimport {module}")


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (numpy_gigabyte, torch_gigabyte)
