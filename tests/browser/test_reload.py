"""A page is loaded anew while a cell runs: its dashboard comes back with its history, and the notebook loses no line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.lab import Notebook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import BrowserContext

    from tests.browser.lab import Lab

pytestmark = pytest.mark.timeout(400)
STEPS = """%%modal_gpu H100:2
import os, time
shown, step, end = display("begun", display_id=True), -1, time.monotonic() + 400
while not os.path.exists({enough!r}) and time.monotonic() < end:
    step += 1
    print("step", step)
    time.sleep(0.25)
shown.update("ended")
{last}"""
"""A cell that runs until the test makes the file."""


@pytest.fixture
def enough(tmp_path: Path) -> Path:
    """The file that ends the cell."""
    return tmp_path / "enough"


@pytest.fixture
def reloaded(notebook: Callable[..., Notebook], enough: Path) -> Callable[..., Notebook]:
    """A notebook whose second cell runs on while the page is loaded anew; with `save`, its file has what it put out."""

    def open_(last: str, *, save: bool) -> Notebook:
        source = STEPS.format(enough=str(enough), last=last)
        opened = notebook("%load_ext modal_gpu_magic", source, "print(step)")
        opened.page.once("dialog", lambda dialog: dialog.accept())
        opened.run(0)
        opened.save()
        opened.start(1)
        opened.cell(1).get_by_role("listitem", name="GPU 1").wait_for(timeout=60_000)
        if save:
            opened.save()
        opened.page.reload()
        return opened

    return open_


def lines(steps: int) -> str:
    return "".join(f"step {step}\n" for step in range(steps))


def saved(notebook: Notebook, lab: Lab) -> list[Any]:
    """The outputs in the file, but for remarks of ours."""
    notebook.save()
    file: Any = nbformat.read(lab.folder / "test_reload.ipynb", as_version=4)
    return [it for it in file.cells[1].outputs if it.get("metadata", {}).get("modal_gpu", {}).get("kind") != "note"]


def test_it_comes_back_and_every_line_is_in_the_file(reloaded: Callable[..., Notebook], lab: Lab, enough: Path) -> None:
    notebook = reloaded("step", save=True)
    shown = notebook.cell(1).get_by_role("region", name="GPU dashboard")
    expect(shown).to_be_visible(timeout=60_000)
    expect(shown.get_by_role("listitem", name="GPU 1")).to_be_visible(timeout=60_000)
    expect(shown.locator(".mgs-state")).to_contain_text("running on H100:2")
    expect(notebook.cell(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    expect(notebook.cell(1).locator(".jp-Cell-outputArea")).to_contain_text("step 1\n")
    enough.touch()
    expect(notebook.cell(1).locator("img[src^='data:image/svg+xml']").first).to_be_visible(timeout=60_000)
    expect(notebook.cell(1).locator(".jp-InputPrompt")).to_have_text("[2]:")
    last = int(notebook.run(2).inner_text())
    emptied, begun, printed, result, card = saved(notebook, lab)
    assert emptied["data"] == {"text/plain": ""}
    assert "image/svg+xml" in card["data"]["text/html"]
    assert begun["data"]["text/plain"] == "'ended'"
    assert printed["text"] == lines(last + 1)
    assert (result["output_type"], result["data"]["text/plain"]) == ("execute_result", str(last))


def test_what_was_never_saved_comes_back_too_and_an_error(
    reloaded: Callable[..., Notebook], lab: Lab, enough: Path
) -> None:
    notebook = reloaded("1 / 0", save=False)
    expect(notebook.cell(1).get_by_role("region", name="GPU dashboard")).to_be_visible(timeout=60_000)
    enough.touch()
    expect(notebook.cell(1)).to_contain_text("ZeroDivisionError", timeout=60_000)
    last = int(notebook.run(2).inner_text())
    _, _, printed, error, card = saved(notebook, lab)
    assert card["data"]["text/plain"].startswith("failed · ")
    assert printed["text"] == lines(last + 1)
    assert (error["output_type"], error["ename"]) == ("error", "ZeroDivisionError")


def test_stop_in_a_page_that_was_loaded_anew(reloaded: Callable[..., Notebook]) -> None:
    notebook = reloaded("", save=True)
    notebook.cell(1).get_by_role("button", name="Stop").click(timeout=60_000)
    expect(notebook.cell(1)).to_contain_text("KeyboardInterrupt", timeout=60_000)


@pytest.mark.parametrize("minor", [5, 4], ids=["with ids of cells", "without"])
def test_a_notebook_that_was_never_saved_and_is_not_trusted(
    context: BrowserContext, lab: Lab, enough: Path, minor: int
) -> None:
    """JupyterLab trusts a cell that the page itself has run; a page that is loaded anew trusts none of this file."""
    source = STEPS.format(enough=str(enough), last="")
    name = lab.write("never_saved.ipynb", ["%load_ext modal_gpu_magic", source])
    if minor < 5:
        file = json.loads((lab.folder / name).read_text())
        cells = [{key: value for key, value in cell.items() if key != "id"} for cell in file["cells"]]
        (lab.folder / name).write_text(json.dumps({**file, "nbformat_minor": minor, "cells": cells}))
    page = context.new_page()
    try:
        notebook = Notebook(page, lab.address(name))
        page.once("dialog", lambda dialog: dialog.accept())
        notebook.run(0)
        notebook.start(1)
        notebook.cell(1).get_by_role("listitem", name="GPU 1").wait_for(timeout=60_000)
        page.reload()
        shown = notebook.cell(1).get_by_role("region", name="GPU dashboard")
        expect(shown).to_be_visible(timeout=60_000)
        expect(shown.locator(".mgs-state")).to_contain_text("running on H100:2")
        expect(notebook.cell(1)).to_contain_text("step 1\n")
        assert page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets[0].model.trusted") is False
        enough.touch()
        expect(shown).to_have_count(0, timeout=60_000)
        expect(notebook.cell(1)).to_contain_text("ended")
        notebook.end()
    finally:
        page.close()
