"""Notifications of long runs in a real browser, seen where the page makes them, and the button that asks the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.lab import CELL_MS, Notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.browser.lab import Lab

pytestmark = pytest.mark.timeout(240)
HEAR = """(() => {
  window.told = [];
  const Native = Notification;
  window.Notification = class extends Native {
    constructor(title, options) {
      super(title, options);
      window.told.push(`${title}: ${options.body}`);
    }
  };
})()"""
"""Before JupyterLab loads: note what the page notifies of, and pass it to the browser."""
UNASKED = """(() => {
  window.told = [];
  window.asked = 0;
  window.Notification = class {
    static permission = 'default';
    static async requestPermission() {
      window.asked += 1;
      return (this.permission = 'granted');
    }
    constructor(title, options) {
      window.told.push(`${title}: ${options.body}`);
    }
  };
})()"""
"""A browser that has not asked the user yet, and whose user agrees: the headless one refuses at once."""
NOT_PRESSED = "Object.defineProperty(navigator, 'userActivation', {get: () => ({isActive: false})})"
SHORT = "%config ModalGpu.notify_after = 2\n%config ModalGpu.{} = {}"
SLEEP = "%%modal_gpu T4 {}\nimport time\ntime.sleep(3.5)"
HOLD = """\
%%modal_gpu T4 {}
import os, time
print("begun")
end = time.monotonic() + 600
while not os.path.exists({!r}) and time.monotonic() < end:
    time.sleep(0.1)"""


@pytest.fixture
def open_page(context: BrowserContext, lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """`open_page(name, cells, script)`: a notebook in a page where the script runs before JupyterLab does."""
    opened: list[Notebook] = []
    browser: Browser | None = context.browser
    assert browser is not None
    contexts: list[BrowserContext] = []

    def open_(name: str, cells: list[str], script: str, *, granted: bool = False) -> Notebook:
        own = browser.new_context(viewport={"width": 1150, "height": 950})
        contexts.append(own)
        if granted:
            own.grant_permissions(["notifications"])
        page = own.new_page()
        page.add_init_script(script)
        opened.append(Notebook(page, lab.address(lab.write(name, cells))))
        return opened[-1]

    yield open_
    for notebook in opened:
        notebook.end()
    for each in contexts:
        each.close()


def told(notebook: Notebook, words: str) -> None:
    """Wait until the page has notified of something."""
    notebook.page.wait_for_function(
        "words => window.told.some(each => each.includes(words))", arg=words, timeout=CELL_MS
    )


def all_told(notebook: Notebook) -> list[str]:
    return list(notebook.page.evaluate("window.told"))


def test_where_the_browser_allows_it_every_long_run_is_told(open_page: Callable[..., Notebook]) -> None:
    cells = [
        "%load_ext modal_gpu_magic",
        SHORT.format("dashboard", False),
        SLEEP.format(""),
        SLEEP.format("--quiet --session other"),
        SLEEP.format("--bg slow") + "\n1 / 0",
        "%config ModalGpu.dashboard = True",
        SLEEP.format(""),
        "%config ModalGpu.notify = False",
        SLEEP.format(""),
    ]
    notebook = open_page("told.ipynb", cells, HEAR, granted=True)
    for index in range(5):
        notebook.run(index)
    told(notebook, "Modal GPU: slow: failed · T4")
    for index in range(5, 9):
        notebook.run(index)
    told(notebook, "Cell [7]")
    first, quiet, slow, shown = all_told(notebook)
    assert first.startswith("Modal GPU: Cell [3]: done · T4")
    assert quiet.startswith("Modal GPU: Cell [4]: done · T4")
    assert slow.startswith("Modal GPU: slow: failed · T4")
    assert shown.startswith("Modal GPU: Cell [7]: done · T4")
    assert notebook.page.locator(".mga").count() == 0


@pytest.mark.parametrize("options", ["", "--bg slow"], ids=["foreground", "background"])
def test_a_run_without_a_dashboard_has_one_button_until_it_is_pressed(
    open_page: Callable[..., Notebook], tmp_path: Path, options: str, serious_in: Callable[[Page, str], list[Any]]
) -> None:
    enough = tmp_path / "enough"
    cells = ["%load_ext modal_gpu_magic", SHORT.format("dashboard", False), HOLD.format(options, str(enough))]
    notebook = open_page(f"asked{len(options)}.ipynb", cells, UNASKED)
    notebook.run(0)
    notebook.run(1)
    notebook.start(2)
    button = notebook.cell(2).get_by_role("button", name="Notify me")
    expect(button).to_be_visible(timeout=CELL_MS)
    assert notebook.page.locator(".mga").count() == 1
    assert serious_in(notebook.page, ".mga") == []
    assert notebook.page.evaluate("window.asked") == 0
    button.focus()
    notebook.page.keyboard.press("Enter")
    expect(notebook.page.locator(".mga")).to_have_count(0)
    assert notebook.page.evaluate("window.asked") == 1
    enough.touch()
    told(notebook, "done · T4")


def test_with_a_dashboard_the_button_is_in_the_dashboard_alone(
    open_page: Callable[..., Notebook], tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    cells = ["%load_ext modal_gpu_magic", SHORT.format("quiet", False), HOLD.format("", str(enough))]
    notebook = open_page("bell.ipynb", cells, UNASKED)
    notebook.run(0)
    notebook.run(1)
    notebook.start(2)
    bell = notebook.cell(2).get_by_role("button", name="Notify me")
    expect(bell).to_be_visible(timeout=CELL_MS)
    bell.click()
    expect(bell).to_be_hidden()
    assert notebook.page.locator(".mga").count() == 0
    enough.touch()
    told(notebook, "done · T4")


def test_who_sets_the_setting_is_asked_at_once(open_page: Callable[..., Notebook]) -> None:
    notebook = open_page("wanted.ipynb", ["%load_ext modal_gpu_magic", "%config ModalGpu.notify = True"], UNASKED)
    notebook.run(0)
    assert notebook.page.evaluate("window.asked") == 0
    notebook.run(1)
    notebook.page.wait_for_function("window.asked === 1", timeout=CELL_MS)
    expect(notebook.page.locator(".mga")).to_have_count(0)


def test_where_the_browser_asks_only_after_a_press_the_cell_has_the_button(open_page: Callable[..., Notebook]) -> None:
    cells = ["%load_ext modal_gpu_magic", "%config ModalGpu.notify = True"]
    notebook = open_page("unpressed.ipynb", cells, UNASKED + ";" + NOT_PRESSED)
    notebook.run(0)
    notebook.run(1)
    button = notebook.cell(1).get_by_role("button", name="Allow notifications")
    button.click(timeout=CELL_MS)
    expect(notebook.page.locator(".mga")).to_have_count(0)
    assert notebook.page.evaluate("window.asked") == 1
