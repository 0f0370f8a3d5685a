"""A saved notebook opened where nobody trusts it and no kernel knows its widgets: what was seen is still seen."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.lab import Lab, Notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext

CELLS = (
    "%load_ext modal_gpu_magic\n%modal_gpu picker L40S:2",
    "%%modal_gpu H100:2\nimport time\ntime.sleep(4)\nprint('kept')",
)


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Somebody else's JupyterLab: signatures of trusted notebooks are of another home."""
    with Lab(tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("their-lab")) as lab:
        yield lab


def test_it_shows_the_picture_and_words_instead_of_widgets(
    notebook: Callable[..., Notebook], lab: Lab, elsewhere: Lab, context: BrowserContext
) -> None:
    mine = notebook(*CELLS)
    mine.run(0)
    mine.run(1)
    receipt = next(line for line in mine.text(1).splitlines() if line.startswith("H100:2 · "))
    mine.save()
    shutil.copy(lab.folder / "test_reopened.ipynb", elsewhere.folder / "received.ipynb")

    page, errors = context.new_page(), list[str]()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    theirs = Notebook(page, elsewhere.address("received.ipynb"))
    picture = theirs.output(1).locator("img[src^='data:image/svg+xml']")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100
    expect(theirs.output(1)).to_contain_text(receipt)
    expect(theirs.output(1)).to_contain_text("kept")
    expect(theirs.output(0)).to_contain_text("%%modal_gpu L40S:2")
    expect(theirs.output(0)).to_contain_text("This front end does not show the picker")
    assert "model not found" not in page.locator("body").inner_text()
    assert errors == []
    theirs.end()
    page.close()
