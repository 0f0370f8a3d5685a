"""Figures of what is seen: a dashboard's update on both sides of the wire, the picker, the sizes of what is shown.

In a real JupyterLab in a real Chromium. The page's share of a core is processor time of its main thread, as Chromium
counts it, so that other programs make it no larger. What waits for others (the picker) is the best of several.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import sin
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.fronts.card import Card, card_html
from modal_gpu_magic.ui.fronts.picture import charts
from modal_gpu_magic.ui.widgets.dashboard import STATIC
from tests.benchmarks.table import Row, seconds
from tests.browser.lab import CHROMIUM, CHROMIUM_FLAGS, Lab, Notebook

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

RATE, KEPT = 4, 2400
"""Readings a second, and how many are ten minutes."""
WATCHED = 10.0
"""Seconds over which a page's work is counted."""
TRIES = 3
LOAD = "%load_ext modal_gpu_magic"

FEED = """
import random, statistics, threading, time
from math import sin
from IPython.display import display
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown

def readings(nodes, at):
    loads = [min(100, max(0, 78 + 18 * sin(at / 2 + gpu) + random.gauss(0, 4))) for gpu in range(8 * nodes)]
    return [Reading(tuple(
        GpuSample(time=at, index=gpu, utilization=loads[8 * node + gpu], memory_used_mib=40000 + 9000 * sin(at / 50 + gpu),
                  memory_total_mib=81559.0, power_w=105 + 5.6 * loads[8 * node + gpu],
                  temperature_c=38 + loads[8 * node + gpu] / 3, node=node)
        for gpu in range(8))) for node in range(nodes)]

def made(nodes):
    dashboard = Dashboard(Shown("running", "running", time.time(), "H100:8", "cloud", hourly=31.6), lambda: None, nodes)
    dashboard.began = time.time() - KEPT / RATE
    for tick in range(KEPT):
        for reading in readings(nodes, dashboard.began + tick / RATE):
            dashboard.sample(reading)
            time.sleep(0.001)  # Jupyter's server drops messages from a thousand a second on
    return dashboard

def feed(dashboard, nodes):
    while not over.wait(1 / RATE):
        for reading in readings(nodes, time.time()): dashboard.sample(reading)
""".replace("KEPT", str(KEPT)).replace("RATE", str(RATE))

SHOW = """
over, dashboard = threading.Event(), made({nodes})
display(dashboard)
threading.Thread(target=feed, args=(dashboard, {nodes})).start()
"""
HIDE = "over.set(); dashboard.close()"

UPDATES = """
dashboard, times = made(1), []
for tick in range(300):
    [reading] = readings(1, time.time())
    began = time.perf_counter(); dashboard.sample(reading); times.append(time.perf_counter() - began)
    time.sleep(0.005)
print(statistics.median(times))
"""

FRAMES = """() => new Promise(tell => {
  let began = 0, frames = 0;
  const next = now => {
    if (!began) began = now; else frames += 1;
    if (now - began < 5000) requestAnimationFrame(next); else tell(1000 * frames / (now - began));
  };
  requestAnimationFrame(next);
})"""

UNTIL_SEEN = """index => new Promise(tell => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  const began = performance.now();
  window.jupyterapp.commands.execute('notebook:run-cell');
  const look = () => {
    const picker = notebook.widgets[index].node.querySelector('[role=group][aria-label="GPU picker"]');
    if (picker?.getClientRects().length) tell((performance.now() - began) / 1000); else requestAnimationFrame(look);
  };
  look();
})"""


@dataclass
class Browser:
    """A page of Chromium on a JupyterLab of its own, and what is counted of both."""

    page: Page
    lab: Lab
    counters: CDPSession
    updates: list[int] = field(default_factory=list)
    """Bytes of each frame message: its content and its buffers, as the prototype's 239 were counted."""
    whole: list[int] = field(default_factory=list)
    """Bytes of the same messages with Jupyter's headers."""
    _count: int = 0

    def open(self, *cells: str) -> Notebook:
        """A notebook of these cells, with a kernel of its own; the one before is closed."""
        if self._count:
            self.page.evaluate("window.jupyterapp.shell.currentWidget?.sessionContext.shutdown()")
        self._count += 1
        return Notebook(self.page, self.lab.address(self.lab.write(f"{self._count}.ipynb", cells)))

    def share(self) -> float:
        """How much of a core the page's main thread takes, in %."""
        before = self._counted()
        self.page.wait_for_timeout(1000 * WATCHED)
        after = self._counted()
        return 100 * (after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"])

    def frames(self) -> float:
        """Frames a second, the best of several times five seconds."""
        return max(float(self.page.evaluate(FRAMES)) for _ in range(TRIES))

    def hear(self, message: str | bytes) -> None:
        """Count a message of the kernel, if it is a dashboard's update."""
        if isinstance(message, str):
            return
        (count,) = struct.unpack_from("<Q", message)
        ends = struct.unpack_from(f"<{count}Q", message, 8)
        if count > 6 and b'"type": "frame"' in message[ends[4] : ends[5]]:
            self.updates.append(ends[-1] - ends[4])
            self.whole.append(len(message))

    def _counted(self) -> dict[str, float]:
        return {each["name"]: each["value"] for each in self.counters.send("Performance.getMetrics")["metrics"]}


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium and JupyterLab, started."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as home,
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        page = chromium.new_page(viewport={"width": 1150, "height": 950})
        counters = page.context.new_cdp_session(page)
        counters.send("Performance.enable", {"timeDomain": "threadTicks"})
        with Lab(Path(folder), Path(home)) as lab:
            made = Browser(page, lab, counters)
            page.on("websocket", lambda socket: socket.on("framereceived", made.hear))
            yield made
        chromium.close()


def dashboards() -> Iterator[Row]:
    """An update of 8 GPUs in the kernel and on the wire; a page with ten minutes of history and four updates a second."""
    with browser() as seen:
        opened = seen.open(UPDATES, *(SHOW.format(nodes=nodes) for nodes in (1, 4)), HIDE, FEED)
        opened.run(4)
        idle, frames = seen.share(), seen.frames()
        took = min(float(opened.run(0).inner_text()) for _ in range(TRIES))
        yield seconds("a dashboard's update of 8 GPUs, in the kernel", took, 1e-3, 0.5e-3)
        yield _bytes(seen)
        for cell, gpus in ((1, "8 GPUs"), (2, "4 x 8 GPUs")):
            opened.run(cell)
            seen.page.locator(".mgd").scroll_into_view_if_needed()
            seen.page.wait_for_timeout(3000)
            yield _share(gpus, seen.share(), idle)
            yield _frames(gpus, seen.frames(), frames)
            opened.run(3)


def _bytes(seen: Browser) -> Row:
    size, whole = max(seen.updates), max(seen.whole)
    return Row("its message", f"{size} bytes", f"with Jupyter's headers {whole}", size, " bytes", 400, 300)


def _share(gpus: str, share: float, idle: float) -> Row:
    what = f"the page's main thread: {gpus}, {RATE} Hz, ten minutes"
    return Row(what, f"{share:.1f} % of a core", f"idle {idle:.1f} %", share - idle, " %", 10, 5)


def _frames(gpus: str, frames: float, idle: float) -> Row:
    """Chromium draws at most 60; one that it misses in a hundred is nobody's."""
    missed = max(0.0, 100 * (1 - frames / 60))
    return Row(f"frames a second: {gpus}", f"{frames:.1f}", f"idle {idle:.1f}", missed, " % under 60", 1, 0.5)


def pickers() -> Iterator[Row]:
    """From running `%modal_gpu` to its group in the page: the kernel's first, and later ones; with and without a cell before."""
    firsts, later, colds = [], [], []
    with browser() as seen:
        for _ in range(TRIES):
            opened = seen.open(LOAD, "%%modal_gpu H100\npass", "%modal_gpu", "%modal_gpu")
            opened.run(0)
            opened.run(1)
            firsts.append(_until_seen(seen, 2))
            later.append(_until_seen(seen, 3))
            opened = seen.open(LOAD, "%modal_gpu")
            opened.run(0)
            colds.append(_until_seen(seen, 1))
    yield seconds("`%modal_gpu`: the first picker after a cell", min(firsts), 0.3, 0.2)
    yield seconds("a later picker", min(later), 0.3, 0.2)
    yield seconds("a picker right after %load_ext", min(colds), 0.5, 0.3)


def _until_seen(seen: Browser, cell: int) -> float:
    seen.page.wait_for_timeout(1000)  # the kernel and the page have nothing else to do
    return float(seen.page.evaluate(UNTIL_SEEN, cell))


def sizes() -> Iterator[Row]:
    """What the wheel has for the page, and what a run leaves in the file: the largest of several lengths of run."""
    files = sorted(path for path in STATIC.iterdir() if path.suffix in (".js", ".css"))
    yield _size("the page's scripts and styles", sum(path.stat().st_size for path in files), 120, 90)
    for gpus in (8, 32):
        largest = max(len(_kept(gpus, readings)) for readings in (239, RATE * 300 - 1, KEPT))
        yield _size(f"the charts of {gpus} GPUs, up to ten minutes", largest, 60, 50)


def _size(what: str, size: int, limit: float, aim: float) -> Row:
    return Row(what, f"{size:,} bytes", "–", size / 1000, " kB", limit, aim)


def _kept(gpus: int, readings: int) -> str:
    """The HTML that takes a dashboard's place."""
    history = History()
    for tick in range(readings):
        samples = [
            GpuSample(
                time=tick / RATE,
                index=gpu % 8,
                node=gpu // 8,
                utilization=78 + 18 * sin(tick / 9 + gpu),
                memory_used_mib=40000 + 9000 * sin(tick / 50 + gpu),
                memory_total_mib=81559.0,
                power_w=500 + 99 * sin(tick / 9 + gpu),
                temperature_c=60 + 9 * sin(tick / 99 + gpu),
            )
            for gpu in range(gpus)
        ]
        history.add(Reading(tuple(samples)))
    return card_html(Card("done", ("H100:8",)), charts(history))


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (sizes, pickers, dashboards)
