"""Help where people look: Tab in a header, `%%modal_gpu?`, and a slip's sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.conftest import Open
    from tests.browser.lab import Notebook

LOAD = "%load_ext modal_gpu_magic"


def completions(notebook: Notebook, cell: int) -> Locator:
    """Press Tab at the end of a cell; returns the items of the list."""
    notebook.cell(cell).locator(".cm-content").click()
    notebook.page.keyboard.press("Control+End")
    notebook.page.keyboard.press("Tab")
    items = notebook.page.locator(".jp-Completer:visible .jp-Completer-item")
    expect(items.first).to_be_visible(timeout=30_000)
    return items


def test_tab_shows_the_price_beside_a_gpu(notebook: Open) -> None:
    opened = notebook(LOAD, "%%modal_gpu ")
    opened.run(0)
    first = completions(opened, 1).first
    expect(first.locator(".jp-Completer-match")).to_have_text("H100")
    expect(first.locator(".jp-Completer-typeExtended")).to_have_text("80 gb · $3.95/h")  # JupyterLab's small letters
    opened.page.keyboard.press("Escape")


def test_tab_shows_the_sentence_beside_an_option(notebook: Open) -> None:
    opened = notebook(LOAD, "%%modal_gpu H100 --")
    opened.run(0)
    items = completions(opened, 1)
    beside = items.filter(has_text="--apt").locator(".jp-Completer-typeExtended")
    expect(beside).to_have_text("debian packages to add")
    assert beside.evaluate("node => node.scrollHeight <= node.parentNode.clientHeight"), "in one line"
    opened.page.keyboard.press("Escape")


def test_a_question_mark_shows_the_user_s_help(notebook: Open) -> None:
    opened = notebook(LOAD, "%%modal_gpu?", "%modal_gpu?")
    opened.run(0)
    for cell in (1, 2):
        opened.run(cell)
        help_ = opened.output(cell)
        expect(help_).to_contain_text("Run this cell on a GPU at Modal")
        expect(help_).to_contain_text("%modal_gpu stop")
        expect(help_).not_to_contain_text("Raises")


def test_a_header_below_code_says_where_to_put_it(notebook: Open) -> None:
    opened = notebook(LOAD, "x = 1\n%%modal_gpu H100\nx")
    opened.run(0)
    expect(opened.run(1)).to_contain_text("`%%modal_gpu H100` is below code; move it to the first line of the cell")
