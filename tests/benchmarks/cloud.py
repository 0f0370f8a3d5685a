"""Figures of a cloud 80 ms away, with 100 Mbit/s: each beside hand-written Modal code in the same cloud."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.benchmarks.cells import HEADER, LOAD
from tests.benchmarks.table import Row, ratio, seconds
from tests.cloud.cloud import cloud
from tests.cloud.proxy import Link, megabits
from tests.e2e.kernel import Kernel

LINK: Final = Link(delay=0.080, up=megabits(100), down=megabits(100))
LARGE_BYTES: Final = 100_000_000

_HAND = """
import contextlib, json, os, random, statistics, time
import modal
from IPython.display import Image, display
app = modal.App()
@app.cls(serialized=True, gpu="H100", max_containers=1)
class Hand:
    @modal.enter()
    def make(self):
        import os
        self.png = os.urandom(40_000)
    @modal.method()
    def empty(self): pass
    @modal.method()
    def turned(self, value): return value[::-1]
    @modal.method()
    def plot(self): return self.png
    @modal.method()
    def size(self, value): return len(value)
stack = contextlib.ExitStack()
stack.enter_context(app.run())
hand = Hand()
ip = get_ipython()
def cell(source, header="--quiet"):
    result = ip.run_cell("%%modal_gpu H100 " + header + "\\n" + source, store_history=False)
    result.raise_error()
def medians(*runs, n=12, warm=2):
    # Alternately, so that whatever else the machine does falls on all of them.
    times = [[] for _ in runs]
    for number in range(n + warm):
        for run, kept in zip(runs, times):
            began = time.perf_counter(); run(); kept.append(time.perf_counter() - began)
    return [statistics.median(kept[warm:]) for kept in times]
"""

_WARM = """
def text():
    return "".join(f"{random.random():.4f} is the value of row {random.randrange(9)}\\n" for _ in range(10_000))[:10_000]
def in_and_out(make):
    def ours():
        global value
        value = make()
        cell("turned = value[::-1]")
        assert turned == value[::-1]
    def by_hand():
        new = make()
        assert hand.turned.spawn(new).get() == new[::-1]
    return ours, by_hand
def noop(): hand.empty.spawn().get()
cell("import os\\nfrom IPython.display import Image, display\\n"
     "class Png:\\n    def _repr_png_(self): return png\\npng = os.urandom(40_000)", "--quiet --fetch 0")
figures = {
    "empty": medians(lambda: cell("pass"), noop),
    "text": medians(*in_and_out(text), noop),
    "random": medians(*in_and_out(lambda: os.urandom(10_000)), noop),
    "plot": medians(lambda: cell("display(Png())"), lambda: hand.plot.spawn().get(), noop),
}
print("FIGURES", json.dumps(figures))
"""

_LARGE = f"""
large = os.urandom({LARGE_BYTES})
ours = medians(lambda: cell("size = len(large)"), n=1, warm=0)
by_hand = medians(lambda: hand.size.spawn(large).get(), n=1, warm=0)
print("FIGURES", json.dumps([*ours, *by_hand]))
"""

_FIRST_BY_HAND = """
import modal
app = modal.App()
def noop(): pass
hand = app.function(serialized=True, gpu="H100", image=modal.Image.debian_slim().pip_install("torch"))(noop)
with app.run():
    hand.remote()
"""


def warm_cells() -> Iterator[Row]:
    """Warm cells beside a hand-written class's spawn and get."""
    with cloud(LINK) as far, Kernel(env=far.environ) as kernel:
        _ready(kernel)
        figures = _figures(kernel, _WARM)
        large, large_by_hand = _figures(kernel, _LARGE)
    (empty, noop), wanted = figures["empty"], "spawn and get"
    yield ratio("cloud: warm empty cell", empty, (wanted, noop), 1.15, 1.0)
    for kind in ("text", "random"):
        ours, by_hand, noop = figures[kind]
        yield ratio(f"cloud: 10 kB of {kind} in and out", ours, (f"{wanted} of nothing", noop), 1.3, 1.05)
        yield ratio("the same", ours, (f"{wanted} of them", by_hand), 1.3, 1.05)
    ours, by_hand, noop = figures["plot"]
    yield ratio("cloud: warm cell that shows a PNG of 40 kB", ours, (f"{wanted} of nothing", noop), 1.5, 1.2)
    yield ratio("the same", ours, (f"{wanted} of it", by_hand), 1.5, 1.2)
    yield ratio("cloud: 100 MB in", large, ("the link alone", LARGE_BYTES / LINK.up), 1 / 0.8, 1 / 0.95)
    yield ratio("the same", large, (wanted, large_by_hand), 1.1, 1.0)


def first_cell() -> Iterator[Row]:
    """The first cell of a kernel, its image cached, beside a hand-written `app.run()` with one `remote()`."""
    with cloud(LINK) as far:
        times: dict[str, list[float]] = {"ours": [], "hand": []}
        for _ in range(4):
            with Kernel(env=far.environ) as kernel:
                kernel.run(LOAD)
                times["ours"].append(_checked(kernel, f"{HEADER}\npass"))
            with Kernel(env=far.environ) as kernel:
                times["hand"].append(_checked(kernel, _FIRST_BY_HAND))
    ours, by_hand = (statistics.median(each[1:]) for each in times.values())
    yield ratio("cloud: first cell, image cached", ours, ("`app.run()` and `remote()`", by_hand), 1.5, 1.2)


def printed_line() -> Iterator[Row]:
    """How soon a printed line is in the notebook. Kernel and container have one clock."""
    slow = "import time\nfor _ in range(30):\n    print(repr(time.time()))\n    time.sleep(0.21)"
    with cloud(LINK) as far, Kernel(env=far.environ) as kernel:
        kernel.run(LOAD)
        kernel.run(f"{HEADER}\npass")
        began = time.time()
        result = kernel.run(f"{HEADER}\n{slow}", timeout=120)
        late = [began + m.at - float(m.text.split()[0]) for m in result.messages if m.kind == "stream"]
    yield seconds("cloud: a printed line arrives", statistics.median(late), 0.250, 0.150)


def _ready(kernel: Kernel) -> None:
    kernel.run(LOAD)
    _checked(kernel, f"{HEADER}\npass")
    _checked(kernel, _HAND)


def _figures(kernel: Kernel, source: str) -> Any:
    result = kernel.run(source, timeout=600)
    if not result.ok:
        raise AssertionError(result.traceback)
    return json.loads(result.stdout.rpartition("FIGURES")[2])


def _checked(kernel: Kernel, source: str) -> float:
    """Seconds of a cell that must not fail."""
    result = kernel.run(source, timeout=120)
    if not result.ok:
        raise AssertionError(result.traceback)
    return result.seconds


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (warm_cells, first_cell, printed_line)
