"""A saved notebook opened where nobody trusts it and no kernel knows its widgets: what was seen is still seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.lab import Lab, Tab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from tests.browser.lab import Notebook

CELLS = (
    "%load_ext modal_gpu_magic\n%modal_gpu picker L40S:2",
    "%%modal_gpu H100:2\nimport time\ntime.sleep(9)\nprint('kept')",
)
TRUSTED = "Array.from(window.jupyterapp.shell.currentWidget.content.model.cells).some(cell => cell.trusted)"


@pytest.fixture
def tabs(shared: Tab) -> Iterator[list[Tab]]:
    """Tabs to close behind the test, outside of `errors`: JupyterLab's debugger complains of a kernel that ends early."""
    opened: list[Tab] = []
    yield opened
    for tab in opened:
        tab.close()


@pytest.fixture
def received(tabs: list[Tab], notebook: Callable[..., Notebook], lab: Lab, page: Page) -> tuple[Notebook, str]:
    """A notebook with another's outputs, and the receipt in them. The server has signed no file of this content."""
    mine = notebook(*CELLS)
    mine.run(0)
    mine.run(1)
    receipt = mine.output(1).locator("summary").inner_text()
    mine.save()
    file: Any = nbformat.read(lab.folder / "test_reopened.ipynb", as_version=4)
    file.metadata["sent"] = "by another"
    nbformat.write(file, lab.folder / "received.ipynb")
    tabs.append(Tab(page, lab, "received.ipynb"))
    return tabs[0], receipt


def test_it_shows_the_charts_and_words_instead_of_widgets(received: tuple[Notebook, str], errors: list[str]) -> None:
    theirs, receipt = received
    assert not theirs.page.evaluate(TRUSTED)
    chart = theirs.output(1).locator("img[src^='data:image/svg+xml']").first
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 100
    assert receipt.startswith("done · H100:2 simulated on this CPU · ")
    assert " at the latest" in receipt
    expect(theirs.output(1)).to_contain_text(receipt)
    expect(theirs.output(1)).to_contain_text("kept")
    expect(theirs.output(0)).to_contain_text("%%modal_gpu L40S:2")
    expect(theirs.output(0)).to_contain_text("This front end does not show the picker")
    assert "model not found" not in theirs.page.locator("body").inner_text()
    assert errors == []
