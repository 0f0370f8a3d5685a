"""Figures of the saved state: what a save adds to a cell that comes meanwhile, and how long a cell waits for 1 MB of 1 GB."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator

from tests.benchmarks.cells import LOAD
from tests.benchmarks.table import Row, seconds
from tests.e2e.kernel import Kernel
from tests.e2e.test_saved_state import Saved

_SOON = "H100 --quiet --fetch 1MB --env MODAL_GPU_SAVE_AFTER=0.1"
_LARGE = """
import numpy as np
large = [np.random.default_rng(i).random(12_500_000) for i in range(10)]
small = np.ones(125_000)"""
_TIMED = """
import time
def timed(cell):
    began = time.perf_counter(); get_ipython().run_cell(cell, store_history=False)
    return time.perf_counter() - began
"""
_PASS = f"print(timed('%%modal_gpu {_SOON}\\npass'))"
_CHANGE = f"timed('%%modal_gpu {_SOON}\\nfor each in large: each[0] += 1')"
_UNITS = {"ms": 1e-3, "s": 1.0}
TIMES = 8


def save_a_gigabyte() -> Iterator[Row]:
    """A cell that comes while 1 GB is saved, over the same cell when nothing is saved."""
    with Kernel() as kernel:
        saved = _begun(kernel)
        quiet = statistics.median(_seconds(kernel, _PASS) for _ in range(TIMES))
        beside = []
        for number in range(TIMES):
            kernel.run(_CHANGE)
            time.sleep(0.15 + 0.05 * number)  # the save goes on at this moment
            beside.append(_seconds(kernel, _PASS))
        assert saved.state is not None
    yield seconds("1 GB is saved: added to a cell that comes meanwhile", max(0.0, max(beside) - quiet), 0.1, 0.02)


def restore_a_gigabyte() -> Iterator[Row]:
    """From the phase `restoring` to user code that reads 1 MB of 1 GB, and of the whole."""
    with Kernel() as kernel:
        saved = _begun(kernel)
        saved.header = saved.header.replace("--quiet ", "")
        saved.kill()
        first = _restoring(saved, "float(small.sum())")
        saved.kill()
        whole = _restoring(saved, "float(sum(each[0] for each in large))")
    yield seconds("1 GB is restored: until a cell that reads 1 MB", first, 1.0, 0.3)
    yield seconds("1 GB is restored: until a cell that reads all", whole, 5.0, 1.0)


def _begun(kernel: Kernel) -> Saved:
    assert kernel.run(LOAD).ok
    assert kernel.run(_TIMED).ok
    saved = Saved(kernel, _SOON)
    saved.save(_LARGE)
    return saved


def _seconds(kernel: Kernel, source: str) -> float:
    return float(kernel.run(source).stdout.splitlines()[-1])


def _restoring(saved: Saved, source: str) -> float:
    done = saved.run(source)
    assert done.ok, done.traceback
    found = re.search(r"restoring ([\d.]+) (ms|s)", done.said)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (save_a_gigabyte, restore_a_gigabyte)
