"""The dashboard in JupyterLab: live while the cell blocks the kernel, above its output; charts in the card afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.lab import Notebook

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

LOAD = "%load_ext modal_gpu_magic"
STEPS = (
    "%%modal_gpu H100:2\nimport time\nprint('first')\nfor step in range({steps}):\n    time.sleep(0.25)\nprint('last')"
)
FEED = """
import threading, time
from IPython.display import display
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown

def feed(nodes, gpus, load=None, **shown):
    pressed = threading.Event()
    dashboard = Dashboard(Shown("running", "running", time.time(), "H100:8", "cloud", **shown), pressed.set, nodes)
    display(dashboard)
    for tick in range(3):
        for node in range(nodes):
            rows = [
                GpuSample(time=time.time(), index=index, utilization=load, memory_used_mib=10240.0,
                          memory_total_mib=81920.0, power_w=None, temperature_c=50.0 + index, node=node)
                for index in range(gpus)
            ]
            dashboard.sample(Reading(tuple(rows)))
        time.sleep(0.6)
    return dashboard, pressed
"""


def dashboard(notebook: Notebook, cell: int) -> Locator:
    return notebook.cell(cell).get_by_role("region", name="GPU dashboard")


def test_it_moves_while_the_cell_blocks_and_leaves_charts(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]]
) -> None:
    opened = notebook(LOAD, STEPS.format(steps=32))
    opened.run(0)
    opened.start(1)
    shown = dashboard(opened, 1)
    expect(shown).to_be_visible(timeout=60_000)
    expect(shown.get_by_text("simulated")).to_be_visible()
    expect(shown.get_by_role("listitem", name="GPU 1")).to_be_visible(timeout=20_000)
    state = shown.locator(".mgs-state")
    expect(state).to_contain_text("running on H100:2", timeout=20_000)
    said = state.inner_text()
    expect(state).not_to_have_text(said, timeout=10_000)
    assert serious(".mgd") == []
    output = opened.cell(1).locator(".jp-Cell-outputArea")
    expect(output.get_by_text("first")).to_be_visible(timeout=20_000)
    assert shown.bounding_box()["y"] < output.get_by_text("first").bounding_box()["y"]  # type: ignore[index]
    opened.ended(1)
    expect(shown).to_have_count(0)
    chart = opened.cell(1).locator("img[src^='data:image/svg+xml']").first
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 100
    assert re.search(r"first\nlast\s+done · H100:2 simulated on this CPU · 8", opened.text(1))


def test_stop_ends_the_cell(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, STEPS.format(steps=400), "%%modal_gpu\nstep < 399")
    opened.start(1)
    dashboard(opened, 1).get_by_role("button", name="Stop").click(timeout=60_000)
    opened.ended(1)
    assert "stopped" in opened.text(1)
    assert "KeyboardInterrupt" in opened.text(1)
    assert "\nTrue\n" in opened.run(2).inner_text()


def test_a_failure_keeps_the_charts_below_the_error(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, "%%modal_gpu\nimport time\nprint('before')\ntime.sleep(4)\n1 / 0", "%modal_gpu last")
    opened.run(1)
    order = r"before\n[\s\S]*ZeroDivisionError: division by zero\s+failed · "
    expect(opened.output(1)).to_have_text(re.compile(order), use_inner_text=True)
    expect(opened.cell(1).locator("img[src^='data:image/svg+xml']").first).to_be_visible()
    assert re.search(r"^before\s+failed · ", opened.run(2).inner_text())
    expect(opened.cell(2).locator("img[src^='data:image/svg+xml']").first).to_be_visible()


def test_the_cell_s_own_clear_output_leaves_it_where_it_is(notebook: Callable[..., Notebook]) -> None:
    source = "from IPython.display import clear_output\nimport time\nfor step in range(20):\n    clear_output(wait=True)\n    print('step', step)\n    time.sleep(0.25)"
    opened = notebook(LOAD, f"%%modal_gpu\n{source}")
    opened.start(1)
    expect(dashboard(opened, 1)).to_be_visible(timeout=30_000)
    expect(opened.cell(1)).to_contain_text(re.compile(r"\bstep 1\d"), timeout=30_000)
    expect(dashboard(opened, 1)).to_have_count(1)
    text = opened.ended(1).inner_text()
    assert re.match(r"\s*step 19\s+done · ", text)
    assert text.count("step ") == 1


def test_a_short_cell_has_a_line_and_no_dashboard(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, "%%modal_gpu\nprint('quick')")
    text = opened.run(1).inner_text()
    assert re.match(r"\s*quick\s+done · ", text)
    assert opened.cell(1).locator("img").count() == 0


def test_it_can_be_refused(notebook: Callable[..., Notebook]) -> None:
    slow = "import time\ntime.sleep(3)\nprint('alone')"
    opened = notebook(
        LOAD, f"%%modal_gpu --quiet\n{slow}", "%config ModalGpu.dashboard = False", f"%%modal_gpu\n{slow}"
    )
    assert opened.run(1).inner_text().strip() == "alone"
    opened.run(2)
    opened.run(3)
    assert re.match(r"\s*alone\s+done · .* · 3\.\d s", opened.text(3))
    for cell in (1, 3):
        assert dashboard(opened, cell).count() == 0
        assert opened.cell(cell).locator("img").count() == 0


def test_unknown_is_a_dash_and_a_cluster_is_drawn_by_node(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(FEED, "made = feed(4, 8, load=73.0, got='H200:8', hourly=126.4)", "made = feed(1, 2)")
    opened.run(0)
    opened.run(1)
    cluster = dashboard(opened, 1)
    expect(cluster.get_by_text("H200:8 (asked H100:8)")).to_be_visible()
    expect(cluster.get_by_role("listitem")).to_have_count(4)
    expect(cluster.get_by_text("73 %")).to_be_visible()
    expect(cluster.get_by_text("320 GiB")).to_be_visible()
    opened.run(2)
    alone = dashboard(opened, 2)
    expect(alone.get_by_role("listitem", name="GPU 0")).to_contain_text("– %")
    expect(alone.get_by_role("listitem", name="GPU 0")).to_contain_text("10/80 GiB · – W · 50°")
    expect(alone.get_by_role("radio", name="Power")).to_be_attached()
    expect(alone.get_by_text("– W", exact=True)).to_be_visible()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_can_be_read_in_both_themes(
    notebook: Callable[..., Notebook], theme: str, serious: Callable[[str], list[Any]]
) -> None:
    opened = notebook(FEED, "made = feed(1, 8, load=50.0, simulated=True)")
    opened.run(0)
    opened.run(1)
    opened.theme(theme)
    expect(dashboard(opened, 1)).to_be_visible()
    assert serious(".mgd") == []


def test_the_file_keeps_the_charts_for_those_who_do_not_trust_it(notebook: Callable[..., Notebook], lab: Any) -> None:
    import nbformat
    from nbconvert import HTMLExporter

    opened = notebook(LOAD, "%%modal_gpu H100:2\nimport time\ntime.sleep(4)\nprint('kept')")
    opened.run(1)
    opened.save()
    saved: Any = nbformat.read(lab.folder / "test_dashboard.ipynb", as_version=4)
    outputs = saved.cells[1].outputs
    assert not any("widget" in mime for output in outputs for mime in output.get("data", {}))
    html, _ = HTMLExporter().from_notebook_node(saved)  # type: ignore[no-untyped-call]  # nbconvert's
    assert "data:image/svg+xml;base64," in html
    assert "simulated" in html
