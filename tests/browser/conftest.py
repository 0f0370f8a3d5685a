"""One JupyterLab and one page of it for all browser tests; a notebook and its kernel a module. Any console error fails."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.lab import CHROMIUM, CHROMIUM_FLAGS, Lab, Notebook, Tab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, ConsoleMessage, Page

    Open = Callable[..., Notebook]


CELLS = 6
"""Cells of a module's notebook; a test fills as many as it needs."""
expect.set_options(timeout=60_000)  # of what is expected of a page; on a busy machine five seconds are too few


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="package")
def context() -> Iterator[BrowserContext]:
    """Chromium. Not beyond these tests: Playwright keeps an event loop running in the main thread, where others look."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield browser.new_context(viewport={"width": 1150, "height": 950}, permissions=["clipboard-write"])
        browser.close()


@pytest.fixture(scope="package")
def page(context: BrowserContext) -> Iterator[Page]:
    """A page in which JupyterLab is loaded by whoever opens the first notebook: that takes seconds of both cores."""
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture(scope="module")
def shared(lab: Lab, page: Page, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """One notebook and one kernel for the tests of a module."""
    name = f"{Path(request.node.name).stem}.ipynb"
    notebook = Tab(page, lab, lab.write(name, [""] * CELLS))
    yield notebook
    notebook.close()


@pytest.fixture
def errors(shared: Notebook) -> Iterator[list[str]]:
    """What the page's console says of errors during the test; there must be none."""
    errors: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    def fall(error: Any) -> None:
        errors.append(str(error))

    shared.page.on("console", hear)
    shared.page.on("pageerror", fall)
    yield errors
    shared.page.remove_listener("pageerror", fall)
    shared.page.remove_listener("console", hear)
    assert [error for error in errors if not error.startswith(tuple(shared.OWN_ERRORS))] == []


@pytest.fixture
def notebook(shared: Notebook, errors: list[str]) -> Open:
    """`notebook("cell", "cell")`: the module's notebook with these cells and no output."""

    def open_(*cells: str) -> Notebook:
        shared.fill(cells)
        return shared

    return open_


def found_by_axe(page: Page, selector: str) -> list[Any]:
    """What axe-core finds in a page below a selector that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context={"include": [[selector]]})
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.fixture
def serious(shared: Notebook) -> Callable[[str], list[Any]]:
    """What axe-core finds below a selector of the module's notebook that is serious or critical."""
    return partial(found_by_axe, shared.page)


@pytest.fixture
def serious_in() -> Callable[[Page, str], list[Any]]:
    """The same for any page."""
    return found_by_axe
