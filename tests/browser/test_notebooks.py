"""The other notebooks of Jupyter: Notebook 7, and the classic one with its own way to run cells and widgets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.classic import Classic
from tests.browser.lab import CELL_MS, Lab, Notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.timeout(300)
FRONTS = {"notebooks": Notebook, "nbclassic/notebooks": Classic}
"""Where each is on the one server, and what drives it."""
SLOW = "%%modal_gpu H100:2\nimport time\nprint('first')\nfor step in range(400):\n    time.sleep(0.25)"


@pytest.fixture(scope="module", params=FRONTS, ids=("notebook", "nbclassic"))
def shared(lab: Lab, context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """A notebook in each of them."""
    front = str(request.param)
    name = lab.write(f"{front.partition('/')[0]}.ipynb", [""] * 3)
    notebook = FRONTS[front](context.new_page(), lab.address(name, front))
    yield notebook
    notebook.end()
    notebook.page.close()


def test_the_picker_by_mouse(notebook: Callable[..., Notebook]) -> None:
    opened = notebook("%load_ext modal_gpu_magic\n%modal_gpu", "%modal_gpu status")
    picker = opened.run(0).get_by_role("group", name="GPU picker")
    picker.locator(".mgp-card", has=opened.page.get_by_text("L40S", exact=True)).click(timeout=CELL_MS)
    picker.get_by_role("button", name="More GPUs").click()
    expect(picker.locator(".mgp-line")).to_have_text("%%modal_gpu L40S:2")
    strip = picker.get_by_role("region", name="Session")
    expect(strip).to_contain_text("No session yet")
    expect(strip.get_by_role("button", name="Stop")).to_be_disabled()
    picker.get_by_role("button", name="Use").click()
    expect(picker.get_by_text("Cells with %%modal_gpu now run on this machine.")).to_be_visible(timeout=CELL_MS)
    expect(opened.run(1)).to_contain_text("default: L40S:2")
    expect(strip).to_contain_text("nothing has run yet")
    expect(strip.get_by_role("button", name="Stop")).to_be_disabled()


def test_insert_writes_into_the_cell_below_and_an_ended_kernel_is_said(notebook: Callable[..., Notebook]) -> None:
    opened = notebook("%load_ext modal_gpu_magic\n%modal_gpu picker L40S", "x = 1", "y = 2")
    picker = opened.run(0).get_by_role("group", name="GPU picker")
    picker.get_by_role("button", name="Insert", exact=True).click()
    expect(picker.get_by_text("Inserted into the cell below.")).to_be_visible()
    assert [opened.source(1), opened.source(2)] == ["%%modal_gpu L40S\nx = 1", "y = 2"]
    opened.restart()
    ended = picker.get_by_text("The kernel has ended. Run this cell again.")
    expect(ended).to_have_count(2)
    expect(picker.get_by_role("button", name="Use")).to_be_disabled()
    expect(picker.get_by_role("button", name="Stop")).to_be_disabled()


def test_a_cell_is_seen_live_stopped_and_kept_as_charts(notebook: Callable[..., Notebook]) -> None:
    opened = notebook("%load_ext modal_gpu_magic", SLOW, "%%modal_gpu\nprint('step', step < 399)")
    opened.run(0)
    opened.start(1)
    shown = opened.cell(1).get_by_role("region", name="GPU dashboard")
    expect(shown.get_by_role("listitem", name="GPU 1")).to_be_visible(timeout=CELL_MS)
    expect(shown.get_by_text("simulated")).to_be_visible()
    state = shown.locator(".mgs-state")
    expect(state).to_contain_text("running on H100:2")
    expect(state).to_have_text(
        re.compile(r" (0:0[6-9]|0:[1-5]\d|[1-9]\d*:\d\d)$"), timeout=CELL_MS
    )  # enough readings for a chart
    shown.get_by_role("button", name="Stop").click()
    output = opened.ended(1)
    expect(output).to_contain_text("KeyboardInterrupt")
    expect(output).to_contain_text("stopped")
    expect(shown).to_have_count(0)
    chart = output.locator("img[src^='data:image/svg+xml']").first
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 100
    expect(opened.run(2)).to_contain_text("step True")
