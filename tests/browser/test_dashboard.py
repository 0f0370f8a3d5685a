"""The dashboard in JupyterLab: live while the cell blocks the kernel, above its output; charts in the card afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.feed import FEED, SIMULATED
from tests.browser.lab import Notebook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator

pytestmark = pytest.mark.timeout(300)
LOAD = "%load_ext modal_gpu_magic"
CHARTED = "import time\ntime.sleep(9)\n"
"""Lines of a cell that runs long enough for a chart: three readings, one of which may be late."""
UNTIL = "import os, time\nwhile not os.path.exists({!r}):\n    time.sleep(0.1)\n"
A_WHILE = re.compile(r" (0:0[6-9]|0:[1-5]\d|[1-9]\d*:\d\d)$")
"""A clock after which there are enough readings for a chart."""
STEPS = (
    "%%modal_gpu H100:2\nimport time\nprint('first')\nfor step in range({steps}):\n    time.sleep(0.25)\nprint('last')"
)


def dashboard(notebook: Notebook, cell: int) -> Locator:
    return notebook.cell(cell).get_by_role("region", name="GPU dashboard")


def test_it_moves_while_the_cell_blocks_and_leaves_charts(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    opened = notebook(LOAD, f"%%modal_gpu H100:2\nprint('first')\n{UNTIL.format(str(enough))}print('last')")
    opened.run(0)
    opened.start(1)
    shown = dashboard(opened, 1)
    expect(shown).to_be_visible(timeout=60_000)
    expect(shown.get_by_text("simulated")).to_be_visible()
    expect(shown.get_by_role("listitem", name="GPU 1")).to_be_visible(timeout=60_000)
    state = shown.locator(".mgs-state")
    expect(state).to_contain_text("running on H100:2", timeout=60_000)
    expect(shown.get_by_role("radio", name="CPU")).to_be_checked()
    # Real figures of the container, also where GPUs are not.
    opened.settles(lambda: figures(shown) == ["CPU", "RAM", "Disk", "Network"])
    expect(shown.get_by_role("radio", name="RAM")).to_have_accessible_name(re.compile(r"RAM [\d.]+ [GM]iB of \d+"))
    said = state.inner_text()
    expect(state).not_to_have_text(said, timeout=60_000)
    assert serious(".mgd") == []
    output = opened.cell(1).locator(".jp-Cell-outputArea")
    expect(output.get_by_text("first")).to_be_visible(timeout=60_000)
    assert shown.bounding_box()["y"] < output.get_by_text("first").bounding_box()["y"]  # type: ignore[index]
    expect(state).to_have_text(A_WHILE)
    enough.touch()
    opened.ended(1)
    expect(shown).to_have_count(0)
    chart = opened.cell(1).locator("img[src^='data:image/svg+xml']").first
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 100
    assert re.search(r"first\nlast\s+done · H100:2 simulated on this CPU · \d", opened.text(1))


def test_a_background_cell_shows_its_output_below_itself_and_its_stop_stops_no_other(
    notebook: Callable[..., Notebook],
) -> None:
    source = "import time\nfor step in range(400):\n    print('step', step)\n    time.sleep(0.25)"
    native = "import time\nprint('native')\nwhile not train._run.ended_at:\n    time.sleep(0.1)\nprint('on')"
    opened = notebook(LOAD, f"%%modal_gpu H100:2 --bg train\n{source}", native, "train")
    opened.run(0)
    opened.run(1)
    opened.start(2)
    shown = dashboard(opened, 1)
    expect(shown).to_be_visible(timeout=60_000)
    expect(opened.output(1).get_by_text("step 3")).to_be_visible(timeout=60_000)
    shown.get_by_role("button", name="Stop").click()
    opened.ended(2)
    assert opened.text(2).split() == ["native", "on"], "neither output of the other cell, nor an interrupt"
    expect(opened.output(1).get_by_text("KeyboardInterrupt").first).to_be_visible(timeout=60_000)
    expect(opened.output(1)).to_contain_text("stopped")
    assert "train: stopped" in opened.run(3).inner_text()


def test_stop_ends_the_cell(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, STEPS.format(steps=400), "%%modal_gpu\nstep < 399")
    opened.start(1)
    dashboard(opened, 1).get_by_role("button", name="Stop").click(timeout=60_000)
    opened.ended(1)
    assert "stopped" in opened.text(1)
    assert "KeyboardInterrupt" in opened.text(1)
    assert "\nTrue\n" in opened.run(2).inner_text()


def test_a_failure_keeps_the_charts_below_the_error(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, f"%%modal_gpu\nprint('before')\n{CHARTED}1 / 0", "%modal_gpu last")
    opened.run(1)
    order = r"before\n[\s\S]*ZeroDivisionError: division by zero\s+failed · "
    expect(opened.output(1)).to_have_text(re.compile(order), use_inner_text=True)
    expect(opened.cell(1).locator("img[src^='data:image/svg+xml']").first).to_be_visible()
    assert re.search(r"^before\s+failed · ", opened.run(2).inner_text())
    expect(opened.cell(2).locator("img[src^='data:image/svg+xml']").first).to_be_visible()


def test_the_cell_s_own_clear_output_leaves_it_where_it_is(notebook: Callable[..., Notebook], tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    source = (
        "from IPython.display import clear_output\nimport os, time\nfor step in range(20):\n    clear_output(wait=True)\n"
        "    print('step', step)\n    time.sleep(0.25)\n"
        f"    while step == 15 and not os.path.exists({str(enough)!r}): time.sleep(0.1)"
    )
    opened = notebook(LOAD, f"%%modal_gpu\n{source}")
    opened.start(1)
    expect(dashboard(opened, 1)).to_be_visible(timeout=60_000)
    expect(opened.output(1)).to_contain_text("step 15")
    expect(dashboard(opened, 1)).to_have_count(1)
    enough.touch()
    text = opened.ended(1).inner_text()
    assert re.match(r"\s*step 19\s+done · ", text)
    assert text.count("step ") == 1


def test_a_short_cell_has_a_line_and_no_dashboard(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, "%%modal_gpu\nprint('quick')")
    text = opened.run(1).inner_text()
    assert re.match(r"\s*quick\s+done · ", text)
    assert opened.cell(1).locator("img").count() == 0 or not re.search(r" · \d+ ms · ", text)


def test_it_can_be_refused(notebook: Callable[..., Notebook]) -> None:
    slow = "import time\ntime.sleep(3)\nprint('alone')"
    opened = notebook(
        LOAD,
        f"%%modal_gpu --quiet\n{slow}",
        "%config ModalGpu.dashboard = False",
        f"%%modal_gpu\n{slow}",
        "%config ModalGpu.dashboard = True",
    )
    assert opened.run(1).inner_text().strip() == "alone"
    opened.run(2)
    opened.run(3)
    opened.run(4)  # other tests share the kernel
    assert re.match(r"\s*alone\s+done · .* · \d+(\.\d)? s", opened.text(3))
    for cell in (1, 3):
        assert dashboard(opened, cell).count() == 0
        assert opened.cell(cell).locator("img").count() == 0


def test_unknown_is_left_out_and_a_cluster_is_drawn_by_node(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(
        FEED,
        "made = feed(4, 8, '4 x H100:8', shown={'got': '4 x H200:8'}, utilization=73.0, memory_used_mib=10240.0)",
        "made = feed(1, 2, utilization=None, power_w=None, temperature_c=50.0, memory_used_mib=10240.0)",
    )
    opened.run(0)
    opened.run(1)
    cluster = dashboard(opened, 1)
    expect(cluster.get_by_text("4 x H200:8 (asked 4 x H100:8)")).to_be_visible()
    expect(cluster.get_by_role("list", name="Nodes").get_by_role("listitem")).to_have_count(4)
    expect(cluster.locator(".mgn-cell")).to_have_count(32)
    expect(cluster.locator(".mgd-kpi").get_by_text("73 %")).to_be_visible()
    expect(cluster.get_by_text("320 GiB")).to_be_visible()
    opened.run(2)
    alone = dashboard(opened, 2)
    for index in (0, 1):
        tile = alone.get_by_role("listitem", name=f"GPU {index}")
        expect(tile).to_have_text(f"GPU {index}10/80 GiB · 50°")
    assert figures(alone) == ["Memory", "Temperature", "CPU", "RAM", "Disk", "Network"]
    expect(alone.get_by_text("–")).to_have_count(0)
    expect(alone.get_by_role("radio", name="Memory")).to_be_checked()


def figures(shown: Locator) -> list[str]:
    """The names of the figures, each of which is a radio button."""
    return shown.locator(".mgd-kpi label > span:first-child").all_inner_texts()


def test_simulated_gpus_are_no_copies_and_said_once(notebook: Callable[..., Notebook]) -> None:
    one = f"made = feed(1, 8, 'H100:8', 'local', shown={{'simulated': True}}, {SIMULATED})"
    opened = notebook(FEED, one, one.replace("feed(1,", "feed(2,"))
    opened.run(0)
    opened.run(1)
    shown = dashboard(opened, 1)
    expect(shown.get_by_text("simulated")).to_have_text("simulated: this machine's CPU")
    expect(shown.get_by_role("list", name="GPUs").get_by_role("listitem")).to_have_count(1)
    expect(shown.get_by_role("listitem", name="GPU 7")).to_contain_text("GPU 0 to 7")
    assert figures(shown) == ["CPU", "RAM", "Disk", "Network"]
    expect(legend(shown)).to_have_count(1)
    opened.run(2)
    expect(dashboard(opened, 2).locator(".mgn-cell")).to_have_count(2)


def test_a_cell_without_a_gpu_shows_the_container(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, "%%modal_gpu --session plain\nimport time\ntime.sleep(300)")
    opened.run(0)
    opened.start(1)
    shown = dashboard(opened, 1)
    expect(shown.get_by_role("radio", name="CPU")).to_be_checked(timeout=60_000)
    opened.settles(lambda: figures(shown) == ["CPU", "RAM", "Disk", "Network"])
    expect(shown.get_by_role("list", name="GPUs")).to_be_hidden()
    expect(shown.get_by_text("simulated")).to_be_hidden()
    shown.get_by_role("button", name="Stop").click()
    opened.ended(1)


def legend(shown: Locator) -> Locator:
    """The lines in the legend, each with its value."""
    return shown.get_by_role("list", name="Lines").get_by_role("button")


def values(shown: Locator) -> list[float]:
    """The values in the legend: percentages."""
    return [float(text.split()[-2]) for text in legend(shown).all_inner_texts()]


def seconds(shown: Locator) -> int:
    """The time in the legend."""
    minutes, rest = shown.locator(".mgl-time").inner_text().split(":")
    return 60 * int(minutes) + int(rest)


def test_the_pointer_reads_all_gpus_at_a_time(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(FEED, "made = feed(1, 3, 'H100:3', ticks=61)")
    opened.run(0)
    opened.run(1)
    shown = dashboard(opened, 1)
    expect(shown.locator(".mgl-time")).to_have_text("1:00")
    tiles = shown.get_by_role("list", name="GPUs").get_by_role("listitem")
    now = values(shown)
    assert [f"{value:.0f} %" in text for value, text in zip(now, tiles.all_inner_texts(), strict=True)] == [True] * 3
    plot = shown.locator(".u-over")
    box = plot.bounding_box()
    assert box is not None
    plot.hover(position={"x": box["width"] / 2, "y": 50})
    opened.settles(lambda: 28 <= seconds(shown) <= 32)
    opened.settles(lambda: len(then := values(shown)) == 3 and then != now)
    opened.page.mouse.move(0, 0)
    expect(shown.locator(".mgl-time")).to_have_text("1:00")
    plot.hover(position={"x": 1, "y": 50})
    opened.settles(lambda: seconds(shown) == 0)  # the time axis begins at 0


def test_a_brush_zooms_and_a_double_click_shows_all(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(FEED, "made = feed(1, 2, 'H100:2', ticks=101)")
    opened.run(0)
    opened.run(1)
    shown = dashboard(opened, 1)
    plot, reset = shown.locator(".u-over"), shown.get_by_role("button", name="Reset zoom")
    expect(reset).to_be_hidden()

    def brush() -> float:
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        mouse = opened.page.mouse
        mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
        mouse.down()
        mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 80, steps=5)
        mouse.up()
        return float(box["width"])

    width = brush()
    expect(reset).to_be_visible()
    plot.hover(position={"x": 2, "y": 50})
    opened.settles(lambda: 38 <= seconds(shown) <= 42)
    plot.hover(position={"x": width - 2, "y": 50})
    opened.settles(lambda: 58 <= seconds(shown) <= 62)
    reset.click()
    expect(reset).to_be_hidden()
    plot.hover(position={"x": 2, "y": 50})
    opened.settles(lambda: seconds(shown) == 0)
    brush()
    plot.dblclick(position={"x": 30, "y": 50})
    expect(reset).to_be_hidden()


def test_the_keyboard_reads_zooms_and_hides(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(FEED, "made = feed(1, 2, 'H100:2', ticks=101)")
    opened.run(0)
    opened.run(1)
    shown = dashboard(opened, 1)
    keyboard, spoken = opened.page.keyboard, shown.locator(".mgd-spoken")
    shown.get_by_role("radio", name="Utilisation").focus()
    keyboard.press("ArrowRight")
    expect(shown.get_by_role("radio", name="Memory")).to_be_checked()
    expect(legend(shown).first).to_have_text(re.compile(r"^GPU 0 \d+(\.\d)? GiB$"))
    chart = shown.get_by_role("application", name="Chart of Memory")
    chart.focus()
    keyboard.press("Home")
    expect(spoken).to_have_text(re.compile(r"^0:00: GPU 0 \d+(\.\d)? GiB, GPU 1 \d+(\.\d)? GiB$"))
    for _ in range(3):
        keyboard.press("ArrowRight")
    expect(spoken).to_have_text(re.compile(r"^0:03: "))
    keyboard.press("+")
    expect(shown.get_by_role("button", name="Reset zoom")).to_be_visible()
    expect(spoken).to_have_text(re.compile(r"^0:03: "))
    keyboard.press("Escape")
    expect(shown.get_by_role("button", name="Reset zoom")).to_be_hidden()
    legend(shown).first.focus()
    keyboard.press("Enter")
    expect(legend(shown).first).to_have_attribute("aria-pressed", "false")
    chart.focus()
    keyboard.press("End")
    expect(spoken).to_have_text(re.compile(r"^1:40: GPU 1 \d+(\.\d)? GiB$"))
    assert opened.page.locator(".jp-Cell").count() > 1, "no key reaches the notebook"


def test_the_processes_of_the_gpus_have_a_table(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(
        FEED,
        "made = feed(1, 2, 'H100:2', processes=3)",
        "from dataclasses import replace\nlast = list(readings(1, 2))[-1]\nmade[0].sample(replace(last, processes=()))",
    )
    opened.run(0)
    opened.run(1)
    shown = dashboard(opened, 1)
    expect(shown.get_by_role("row")).to_have_count(4)
    expect(shown.get_by_role("row").nth(1)).to_have_text("GPU 04711python320 GiB")
    opened.run(2)
    expect(shown.get_by_role("row")).to_have_count(0)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_chart_takes_the_free_width(notebook: Callable[..., Notebook], count: int) -> None:
    opened = notebook(FEED, f"made = feed(1, {count}, 'H100:{count}')")
    opened.run(0)
    opened.run(1)
    shown = dashboard(opened, 1)
    expect(shown.locator(".uplot")).to_be_visible()
    left, right = "box => box.getBoundingClientRect().left", "box => box.getBoundingClientRect().right"
    whole = shown.locator(".mgd-body")
    assert shown.locator(".uplot").evaluate(right) == pytest.approx(whole.evaluate(right), abs=2)
    tiles = shown.get_by_role("list", name="GPUs")
    if count <= 2:
        assert shown.locator(".uplot").evaluate(left) == pytest.approx(whole.evaluate(left), abs=2)
    else:
        below = "([tiles, chart]) => tiles.getBoundingClientRect().height - chart.getBoundingClientRect().height"
        hole = opened.page.evaluate(below, [tiles.element_handle(), shown.locator(".mgd-chart").element_handle()])
        assert abs(hole) < 60
    assert shown.evaluate("box => box.scrollWidth - box.clientWidth") <= 0


@pytest.mark.parametrize("width", [390, 800, 1400])
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_can_be_read_in_both_themes_at_every_width(
    notebook: Callable[..., Notebook], theme: str, width: int, serious: Callable[[str], list[Any]]
) -> None:
    simulated = f"feed(1, 8, 'H100:8', 'local', ticks=9, shown={{'simulated': True}}, {SIMULATED})"
    opened = notebook(
        FEED, "made = feed(1, 8, 'H100:8', processes=2, ticks=9)", f"made = {simulated}", "made = feed(2, 8, ticks=9)"
    )
    size = opened.page.viewport_size
    try:
        opened.run(0)
        opened.command("application:toggle-left-area")
        opened.page.set_viewport_size({"width": width, "height": 950})
        opened.theme(theme)
        for cell in (1, 2, 3):
            opened.run(cell)
            shown = dashboard(opened, cell)
            expect(shown.locator(".uplot")).to_be_visible()
            assert shown.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
        assert serious(".mgd") == []
    finally:
        assert size is not None
        opened.command("application:toggle-left-area")
        opened.page.set_viewport_size(size)


def test_the_file_keeps_the_charts_for_those_who_do_not_trust_it(notebook: Callable[..., Notebook], lab: Any) -> None:
    import nbformat
    from nbconvert import HTMLExporter

    opened = notebook(LOAD, f"%%modal_gpu H100:2\n{CHARTED}print('kept')")
    opened.run(1)
    opened.save()
    saved: Any = nbformat.read(lab.folder / "test_dashboard.ipynb", as_version=4)
    outputs = saved.cells[1].outputs
    assert not any("widget" in mime for output in outputs for mime in output.get("data", {}))
    html, _ = HTMLExporter().from_notebook_node(saved)  # type: ignore[no-untyped-call]  # nbconvert's
    assert "data:image/svg+xml;base64," in html
    assert "simulated" in html
