"""Figures of cells: the extension's load, a warm cell, a cold one, output. Each in a real ipykernel."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil

from tests.benchmarks.table import Row, ratio, seconds
from tests.e2e.kernel import Kernel

FILLING_CELLS = 1500
"""Cells until the memory pools of gRPC and the tables of closed streams have their size."""
HEADER = "%%modal_gpu H100"
LOAD = "%load_ext modal_gpu_magic"

_LOAD_SCRIPT = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.extension_manager.load_extension("modal_gpu_magic")
took = time.perf_counter() - began
print(json.dumps([took, sorted({"modal", "torch", "numpy", "ipywidgets"} & set(sys.modules))]))
"""

_IN_KERNEL = """
import json, statistics, time
import modal
from modal_gpu_magic.sdk.client import connect
ip = get_ipython()
def medians(*runs, n=60, warm=5):
    # Alternately, so that whatever else the machine does falls on all of them.
    times = [[] for _ in runs]
    for _ in range(n + warm):
        for run, kept in zip(runs, times):
            began = time.perf_counter(); run(); kept.append(time.perf_counter() - began)
    return [statistics.median(kept[warm:]) for kept in times]
app = modal.App()
def noop(): pass
hand = app.function(serialized=True)(noop)
client = connect("local").client
def whole():
    with app.run(client=client): hand.remote()
ours = lambda: ip.run_cell("%%modal_gpu H100 --quiet\\npass", store_history=False)
figures = {}
with app.run(client=client):
    figures["ours"], figures["remote"] = medians(ours, lambda: hand.remote())
(figures["run"],) = medians(whole, n=8, warm=1)
print(json.dumps(figures))
"""


def load_ext() -> Iterator[Row]:
    """`%load_ext`, over bare IPython, with .pyc files; nothing heavy is loaded by it."""
    times = []
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", _LOAD_SCRIPT], capture_output=True, text=True, check=True)
        took, heavy = json.loads(done.stdout.splitlines()[-1])
        if heavy:
            raise AssertionError(f"%load_ext loads {heavy}")
        times.append(took)
    yield seconds("`%load_ext`", statistics.median(times[1:]), 0.060, 0.030)


def warm() -> Iterator[Row]:
    """A warm empty cell beside a hand-written warm no-op, and beside a whole `app.run()` a cell."""
    with Kernel() as kernel:
        kernel.run(LOAD)
        kernel.run(f"{HEADER}\npass")
        figures = json.loads(kernel.run(_IN_KERNEL, timeout=300).stdout)
        round_trip = statistics.median(kernel.run(f"{HEADER} --quiet\npass").seconds for _ in range(40))
    yield ratio("warm empty cell", figures["ours"], ("`Function.remote()`", figures["remote"]), 2.5, 1.5)
    yield ratio(
        "warm cell over `app.run()` a cell", figures["ours"], ("`with app.run()`", figures["run"]), 1 / 5, 1 / 20
    )
    yield ratio("warm cell with the kernel's round trip", round_trip, ("`%%px`", _px()), 2.5, 1.0)


def _px() -> float:
    """Seconds of an empty `%%px` cell in a kernel of its own, with its round trip."""
    start = (
        "import ipyparallel as ipp\ncluster = ipp.Cluster(n=1)\nview = cluster.start_and_connect_sync(activate=True)"
    )
    with Kernel() as kernel:
        kernel.run(start, timeout=120)
        times = [kernel.run("%%px\npass").seconds for _ in range(43)]
        kernel.run("cluster.stop_cluster_sync()", timeout=60)
    return statistics.median(times[3:])


def cold() -> Iterator[Row]:
    """The first cell of a new kernel, and another session's first cell."""
    firsts, others = [], []
    for _ in range(3):
        with Kernel() as kernel:
            kernel.run(LOAD)
            firsts.append(kernel.run(f"{HEADER}\npass").seconds)
            others.append(kernel.run("%%modal_gpu --session other\npass").seconds)
    yield seconds("first cell of a kernel", statistics.median(firsts), 2.5, 1.2)
    yield seconds("another session's first cell", statistics.median(others), 0.5, 0.2)


def output() -> Iterator[Row]:
    """How soon a printed line is there, and what 100,000 of them cost."""
    slow = "import time\nfor _ in range(30):\n    print(repr(time.time()))\n    time.sleep(0.21)"
    many = "for i in range(100_000): print(i)"
    with Kernel() as kernel:
        kernel.run(LOAD)
        kernel.run(f"{HEADER}\npass")
        began = time.time()
        result = kernel.run(f"{HEADER}\n{slow}")
        lines = [(m.at, float(m.text.split()[0])) for m in result.messages if m.kind == "stream"]
        yield seconds(
            "a printed line arrives", statistics.median(began + at - printed for at, printed in lines), 0.1, 0.06
        )
        native = min(kernel.run(many).seconds for _ in range(3))
        remote = min(kernel.run(f"{HEADER}\n{many}").seconds for _ in range(3))
    yield ratio("100,000 lines", remote, ("native", native), 2.0, 1.3)


def growth() -> Iterator[Row]:
    """How much 1,000 warm cells enlarge the kernel and the control plane, once pools and caches are full."""
    repeat = (
        "def repeat(count):\n    for _ in range(count):\n"
        "        get_ipython().run_cell('%%modal_gpu H100 --quiet\\npass', store_history=False)"
    )
    with Kernel() as kernel:
        kernel.run(LOAD)
        kernel.run(f"{HEADER}\npass")
        kernel.run(repeat)
        here = psutil.Process(kernel.pid)
        server = next(each for each in here.children() if "modal_gpu_magic.control_plane" in each.cmdline())
        kernel.run(f"repeat({FILLING_CELLS})", timeout=300)
        before = [each.memory_full_info().uss for each in (here, server)]
        kernel.run("repeat(1000)", timeout=300)
        after = [each.memory_full_info().uss for each in (here, server)]
    for name, first, last in zip(("kernel", "control plane"), before, after, strict=True):
        grown = (last - first) / 1e6
        yield Row(f"1,000 warm cells enlarge the {name}", f"{grown:.2f} MB", "–", grown, " MB", 0.5, 0.1)


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (load_ext, warm, cold, output, growth)
