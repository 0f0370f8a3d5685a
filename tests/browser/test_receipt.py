"""The card below a cell's output: readable in both themes and at all widths, in the reader's time zone, true later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator

    from tests.browser.lab import Notebook

LOAD = "%load_ext modal_gpu_magic"
CELL = """%%modal_gpu H100:2 A100-80GB:2
import time
print('out')
open('a-rather-long-name-of-a-file-that-holds-a-model-of-many-layers.pt', 'wb').write(b'x' * 10**6)
time.sleep({seconds})
{last}"""
WIDTHS = (390, 800, 1400)
TOO_WIDE = """card => Array.from(card.querySelectorAll('*'))
  .filter(each => each.getBoundingClientRect().right > card.getBoundingClientRect().right)
  .map(each => each.outerHTML)"""
ZONE = "(?!JST)([A-Z]{2,5}|UTC[+-].*)"


@pytest.fixture
def sized(notebook: Callable[..., Notebook]) -> Iterator[Callable[..., Notebook]]:
    """A notebook whose page has its former size and theme afterwards."""
    opened = notebook()
    size = opened.page.viewport_size
    opened.page.evaluate("window.jupyterapp.shell.collapseLeft()")
    yield notebook
    opened.page.evaluate("window.jupyterapp.shell.expandLeft()")
    opened.page.set_viewport_size(size)  # type: ignore[arg-type]  # the page has a size
    opened.theme("JupyterLab Light")


def card(notebook: Notebook, cell: int) -> Locator:
    return notebook.output(cell).locator("div:has(> details)").last


def test_it_can_be_read_in_both_themes_at_all_widths(
    sized: Callable[..., Notebook], serious: Callable[[str], list[Any]]
) -> None:
    opened = sized(LOAD, CELL.format(seconds=9, last="1 / 0"))
    opened.run(0)
    opened.run(1)
    shown = card(opened, 1)
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        opened.theme(theme)
        for width in WIDTHS:
            opened.page.set_viewport_size({"width": width, "height": 950})
            for is_open in (False, True):
                shown.locator("details").evaluate("(it, open) => { it.open = open; }", is_open)
                assert serious("details") == []
                assert shown.evaluate(TOO_WIDE) == [], (theme, width)
        assert shown.locator("summary").evaluate("line => line.clientHeight") < 50, "one line or two"


def test_details_are_folded_and_open_by_a_press(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, CELL.format(seconds=0, last=""))
    opened.run(0)
    opened.run(1)
    files = card(opened, 1).get_by_text("%modal_gpu get session:")
    expect(files).to_be_hidden()
    card(opened, 1).locator("summary").press("Enter")
    expect(files).to_be_visible()


def test_times_are_the_page_s_once_a_dashboard_was_shown(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, CELL.format(seconds=4, last=""))
    opened.run(0)
    opened.run(1)
    at = card(opened, 1).locator("time").get_attribute("datetime")
    local = opened.page.evaluate("at => new Date(at).toTimeString().slice(0, 5)", at)
    expect(card(opened, 1).locator("time")).to_have_text(re.compile(f"^{local} {ZONE}$"))


FAR = """import os, sys, time
from modal_gpu_magic.ui.widgets.preload import WIDGETS, import_widgets
from modal_gpu_magic.ui.widgets.reader import READER
os.environ["TZ"] = "Asia/Tokyo"
time.tzset()
READER.zone, READER.widget = "", None
import_widgets()
while not hasattr(sys.modules.get(WIDGETS), "GpuPicker"): time.sleep(0.05)"""
"""A kernel in Japan that has not heard of this page yet."""


def test_a_kernel_elsewhere_shows_the_page_s_time_also_after_a_short_cell(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, FAR, CELL.format(seconds=0, last=""))
    for cell in range(3):
        opened.run(cell)
    at = card(opened, 2).locator("time").get_attribute("datetime")
    local = opened.page.evaluate("at => new Date(at).toTimeString().slice(0, 5)", at)
    expect(card(opened, 2).locator("time")).to_have_text(re.compile(f"^{local} {ZONE}$"))


def test_the_end_of_the_session_is_seen_and_saved(notebook: Callable[..., Notebook], lab: Any) -> None:
    import nbformat

    opened = notebook(LOAD, CELL.format(seconds=0, last=""), "%%modal_gpu\n2", "%modal_gpu stop")
    for cell in range(3):
        opened.run(cell)
    expect(card(opened, 1)).to_contain_text(re.compile(rf"idle until the next cell at \d\d:\d\d {ZONE}"))
    expect(card(opened, 2)).to_contain_text("at the latest")
    opened.run(3)
    expect(card(opened, 2)).to_contain_text(re.compile(rf"container ended at \d\d:\d\d {ZONE}"))
    opened.save()
    saved: Any = nbformat.read(lab.folder / "test_receipt.ipynb", as_version=4)
    texts = [" ".join(saved.cells[cell].outputs[-1]["data"]["text/plain"].split()) for cell in (1, 2)]
    assert "idle until the next cell at " in texts[0]
    assert "container ended at " in texts[1]
    assert not any("latest" in text for text in texts)
