"""A notebook with a detached session is left and opened again: the bar below its cell, and what Attach does."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.lab import CELL_MS, Notebook
from tests.e2e.detached_user import PLACES, User, wait_until
from tests.ui.hostile import HOSTILE, MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Locator, Page

    from tests.browser.lab import Lab

pytestmark = pytest.mark.timeout(240)
LOAD = """\
import os
os.environ.update({environ!r})
%load_ext modal_gpu_magic
%config ModalGpu.record = {record}
print("pid", os.getpid())"""
RUN = """\
%%modal_gpu T4 --backend local --session {session} --detach
import os, time
print("begun")
end = time.monotonic() + 600
while not os.path.exists({enough!r}) and time.monotonic() < end:
    time.sleep(0.1)
{last}"""
NUMBERS = itertools.count(1)
"""Numbers of the tests' sessions: each has its own."""
ASKING = "made = int(input('how many? '))\nmade + 1"
CLOSE = "window.jupyterapp.shell.currentWidget.dispose()"
COUNT = "window.jupyterapp.shell.currentWidget.content.model.cells.get({}).executionCount"


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with User() as user:
        yield user


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page of its own, with JupyterLab as after a start of the browser."""
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    yield page
    page.close()


@pytest.fixture
def errors(page: Page) -> Iterator[list[str]]:
    """The errors of this package's scripts, which the page loads as blobs. Notebook 7 has errors of its own when it is left."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error} {error.stack}"))
    yield errors
    assert [error for error in errors if "blob:" in error] == []


class Traveller:
    """Leaves a notebook while its detached cell runs, and opens it again."""

    def __init__(self, page: Page, lab: Lab, user: User, enough: Path) -> None:
        self.page, self.lab, self.enough = page, lab, enough
        self.session, self.run = f"trip{next(NUMBERS)}", RUN
        self._environ = {f"XDG_{name}": f"{user.home}/{place}" for name, place in PLACES.items()}

    def leave(
        self, name: str, last: str = "made = 41\nmade + 1", *, record: bool = True, front: str = "lab/tree"
    ) -> None:
        """Start the cell, save the notebook, kill its kernel, close it."""
        cells = [
            LOAD.format(environ=self._environ, record=record),
            self.run.format(session=self.session, enough=str(self.enough), last=last),
            "",
        ]
        notebook = Notebook(self.page, self.lab.address(self.lab.write(name, cells), front))
        pid = int(notebook.run(0).inner_text().rpartition("pid ")[2])
        notebook.start(1)
        expect(notebook.output(1)).to_contain_text("begun", timeout=CELL_MS)
        expect(notebook.output(1)).to_contain_text("T4", timeout=CELL_MS)
        notebook.save()
        os.kill(pid, signal.SIGKILL)
        notebook.end()
        self.page.goto("about:blank")

    def bar(self) -> Locator:
        """The bar of the session, wherever it is."""
        return self.page.get_by_role("group", name=f"Detached session {self.session}")

    def come_back(self, name: str, front: str = "lab/tree") -> Notebook:
        """Open the notebook again; nothing has run."""
        return Notebook(self.page, self.lab.address(name, front))


@pytest.fixture
def traveller(page: Page, lab: Lab, user: User, tmp_path: Path, errors: list[str]) -> Iterator[Traveller]:
    traveller = Traveller(page, lab, user, tmp_path / "enough")
    yield traveller
    traveller.enough.touch()


def cells_of(lab: Lab, name: str) -> Any:
    file: Any = nbformat.read(lab.folder / name, as_version=4)
    return file.cells


@pytest.mark.parametrize("front", ["lab/tree", "notebooks"])
def test_a_running_cell_is_attached_to_below_itself(
    traveller: Traveller, lab: Lab, front: str, serious_in: Callable[[Page, str], list[Any]]
) -> None:
    name = f"back-{front.partition('/')[0]}.ipynb"
    traveller.leave(name, ASKING, front=front)
    began = time.monotonic()
    notebook = traveller.come_back(name, front)
    expect(traveller.bar()).to_have_count(0)
    notebook.run(0)
    expect(traveller.bar()).to_have_text(f"Still running in session {traveller.session}Attach", timeout=CELL_MS)
    assert traveller.bar().count() == 1
    assert notebook.cell(1).locator(traveller.bar()).count() == 1
    assert serious_in(notebook.page, ".mga") == []
    expect(notebook.page.get_by_text("Error displaying widget")).to_be_hidden()
    assert notebook.page.evaluate(COUNT.format(1)) is None, "opening and loading run nothing"
    button = traveller.bar().get_by_role("button", name="Attach")
    button.focus()
    notebook.page.keyboard.press("Enter")
    expect(notebook.output(1)).to_contain_text("begun", timeout=CELL_MS)
    expect(traveller.bar()).to_have_count(0)
    dashboard = notebook.cell(1).get_by_role("region", name="GPU dashboard")
    expect(dashboard).to_be_visible(timeout=CELL_MS)
    state = dashboard.locator(".mgs-state")
    expect(state).to_have_text(re.compile(r"running on T4 \d+:\d\d"))

    def is_as_old() -> bool:
        """Whether the run is as old as it is, not as the kernel's sight of it."""
        away = time.monotonic() - began
        minutes, seconds = map(int, state.inner_text().split()[-1].split(":"))
        return minutes * 60 + seconds >= int(away) - 3

    notebook.settles(is_as_old)
    traveller.enough.touch()
    field = notebook.cell(1).get_by_label("how many?")
    field.fill("41")
    field.press("Enter")
    expect(notebook.output(1)).to_contain_text("42", timeout=CELL_MS)
    expect(notebook.cell(1).locator("summary")).to_contain_text("done", timeout=CELL_MS)
    expect(notebook.output(1).get_by_text("begun")).to_have_count(1)
    assert notebook.source(1).startswith("%%modal_gpu T4"), "the cell's own source stays"
    notebook.save()
    kinds = [each.output_type for each in cells_of(lab, name)[1].outputs]
    assert "execute_result" in kinds
    notebook.end()


def test_a_run_that_ended_meanwhile_says_so_and_the_bar_goes_with_the_kernel(traveller: Traveller, user: User) -> None:
    traveller.leave("ended.ipynb")
    traveller.enough.touch()
    logs = f"data/modal_gpu_magic/volumes/*-{traveller.session}/*/runs/*/*/end"
    wait_until(lambda: bool([*user.home.glob(logs)]))
    notebook = traveller.come_back("ended.ipynb")
    notebook.run(0)
    expect(traveller.bar()).to_have_text(
        f"Ended while you were away, in session {traveller.session}Attach", timeout=CELL_MS
    )
    notebook.restart()
    expect(traveller.bar()).to_have_count(0)
    notebook.run(0)
    traveller.bar().get_by_role("button", name="Attach").click(timeout=CELL_MS)
    expect(notebook.output(1)).to_contain_text("42", timeout=CELL_MS)
    expect(notebook.cell(1).locator("summary")).to_contain_text("done", timeout=CELL_MS)
    notebook.page.evaluate(
        "cell => window.jupyterapp.shell.currentWidget.content.model.cells.get(cell).sharedModel.setSource('made')", 2
    )
    expect(notebook.run(2)).to_contain_text("41")
    notebook.end()


def test_nothing_is_offered_where_nothing_was_recorded(traveller: Traveller) -> None:
    traveller.leave("unrecorded.ipynb", record=False)
    notebook = traveller.come_back("unrecorded.ipynb")
    notebook.run(0)
    expect(notebook.output(0)).to_contain_text("pid")
    expect(notebook.page.locator(".mga")).to_have_count(0)
    notebook.end()


def test_metadata_of_a_stranger_offers_nothing_and_runs_nothing(traveller: Traveller, lab: Lab) -> None:
    """Only what the kernel knows is offered, and the line that is run is the kernel's."""
    traveller.leave("mine.ipynb")
    file: Any = nbformat.read(lab.folder / "mine.ipynb", as_version=4)
    own = traveller.session
    texts = [*HOSTILE.values(), f"{own}\n!touch /tmp/x", f"{own}'; import os", [own], {"session": own}, 5, None]
    for text in texts:
        cell = nbformat.v4.new_code_cell("pass")
        mark = {"modal_gpu": {"kind": "status", "session": text, "run": text}}
        cell.outputs = [nbformat.v4.new_output("display_data", {"text/plain": "status"}, metadata=mark)]
        file.cells.append(cell)
    nbformat.write(file, lab.folder / "strange.ipynb")
    notebook = traveller.come_back("strange.ipynb")
    notebook.run(0)
    expect(traveller.bar()).to_be_visible(timeout=CELL_MS)
    expect(notebook.page.locator(".mga")).to_have_count(1)
    assert notebook.page.evaluate(MARK) is None
    notebook.end()
