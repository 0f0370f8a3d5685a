"""Figures of files and own modules: what a cell pays that has none, and what a Volume adds."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from modal_gpu_magic.container.state.files import Watch
from modal_gpu_magic.session.project.modules import LocalModules
from tests.benchmarks.table import Row, seconds
from tests.e2e.kernel import Kernel


def _median(act: Callable[[], object], times: int = 50) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def looks() -> Iterator[Row]:
    """What is looked at around every cell: own modules before it, files after it."""
    modules = LocalModules()
    yield seconds(
        "own modules: a cell without", _median(lambda: modules.outgoing(["numpy", "torch", "json"])), 1e-3, 5e-5
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "mgb_package").mkdir()
        for number in range(100):
            (root / f"mgb_package/m{number}.py").write_text(f"X = {number}")
        sys.path.insert(0, folder)
        modules.outgoing(["mgb_package"])
        modules.arrived()
        yield seconds("own modules: 100 files, unchanged", _median(lambda: modules.outgoing([])), 5e-3, 1e-3)
        sys.path.remove(folder)
        watch = Watch(root)
        yield seconds("what a cell wrote: 100 files, none", _median(lambda: watch.written(time.time())), 1e-3, 5e-4)


def volume() -> Iterator[Row]:
    """A warm empty cell with a Volume, less one without: its reload and its commit."""
    with Kernel() as kernel:
        kernel.load()
        headers = ("H100 --quiet", "H100 --quiet --volume bench:/tmp/mgb-volume --session other")
        for header in headers:
            kernel.remote("pass", header)
        took = [[kernel.remote("pass", header).seconds for header in headers] for _ in range(30)]
        without, with_one = (statistics.median(column) for column in zip(*took, strict=True))
    yield seconds("a Volume: reload and commit", with_one - without, 0.020, 0.008)


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (looks, volume)
