"""Pictures of background cells, handles, costs, notifications and of coming back: light and dark, narrow and wide.

`python -m tests.browser.leaving_shots FOLDER [background|costs|leaving|notifications]`. Look at the pictures, and mend
what is ugly.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from playwright.sync_api import expect

from tests.browser.lab import CELL_MS, Notebook
from tests.browser.shots import browser_page
from tests.e2e.detached_user import PLACES, User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Page

    from tests.browser.lab import Lab

SIZES: Final = ((480, 1600), (1400, 1600))
LOAD: Final = """\
import os
os.environ.update({!r})
%load_ext modal_gpu_magic
%config ModalGpu.backend = "local"
print("pid", os.getpid())"""
HOLD: Final = """\
%%modal_gpu {}
import os, time
step, end = 0, time.monotonic() + 200
while not os.path.exists({!r}) and time.monotonic() < end:
    print(f"epoch {{step}} loss {{1 / (step + 1):.3f}}")
    step += 1
    time.sleep(1)
model = {{"layers": step}}
step > 0"""
RECORDS: Final = """\
import time
from dataclasses import replace
from modal_gpu_magic.session.costs.ledger import Ledger, Record
now, day = time.time(), 86400.0
run = Record("1", "run", now - 3600, now - 1800, now - 1800, "cloud", "default", "H100:2", "H100", notebook="train.ipynb",
    outcome="done", phases={"running": 1800.0}, dollars=12.5, hourly=7.9, price_date="2026-09-01",
    price_source="Modal's price list")
ledger = Ledger()
for each in (
    run,
    replace(run, id="2", kind="idle", outcome="", dollars=0.25),
    replace(run, id="3", gpu="T4", notebook="a_rather_long_name_of_a_notebook_about_fine_tuning.ipynb", dollars=0.004),
    replace(run, id="4", gpu="B200", notebook="", dollars=None, hourly=None),
    *(replace(run, id=f"d{n}", began=now - n * day, ended=now - n * day + 60, until=now - n * day + 60, dollars=3.0 * n)
      for n in range(1, 6)),
    replace(run, id="5", backend="local", gpu="L4", notebook="try.ipynb", dollars=0.003),
):
    ledger.append(each)"""
UNASKED: Final = """window.Notification = class {
  static permission = 'default';
  static async requestPermission() { return 'default'; }
}"""
BLOCKED: Final = "window.Notification = class { static permission = 'denied'; }"
NARROW: Final = "document.querySelectorAll('.jp-SideBar').forEach(it => { it.style.display = 'none'; })"


def take(notebook: Notebook, cells: Sequence[int], to: Path) -> None:
    """Cells of a notebook, in both themes and at both widths."""
    page = notebook.page
    page.evaluate("window.jupyterapp.shell.collapseLeft()")
    for theme in ("Light", "Dark"):
        notebook.theme(f"JupyterLab {theme}")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(2000)  # a chart follows the width and the theme
            for cell in cells:
                path = to.with_name(f"{to.name}-{cell}-{width}-{theme.lower()}.png")
                notebook.cell(cell).scroll_into_view_if_needed()
                notebook.cell(cell).screenshot(path=path)
    page.set_viewport_size({"width": 1150, "height": 1400})


class Scene:
    """A page, its JupyterLab, a user's directories, and the file that ends the runs."""

    def __init__(self, page: Page, lab: Lab, user: User, folder: Path) -> None:
        self.page, self.lab, self.user, self.folder = page, lab, user, folder
        self.enough = user.home / "enough"
        self.load = LOAD.format({f"XDG_{name}": f"{user.home}/{place}" for name, place in PLACES.items()})

    def open(self, name: str, *cells: str) -> Notebook:
        """Open a notebook of these cells below the one that loads the extension, which has run."""
        notebook = Notebook(self.page, self.lab.address(self.lab.write(name, [self.load, *cells])))
        notebook.run(0)
        return notebook


def background(scene: Scene) -> None:
    """The areas of background cells and their handles, in every state."""
    hold = str(scene.enough)
    notebook = scene.open(
        "background.ipynb",
        HOLD.format("H100:2 --bg train", hold),
        "%%modal_gpu --bg evaluate\nlen(model)",
        "%%modal_gpu T4 --session other --bg quick\nprint('two')\n1 + 1",
        "%%modal_gpu --session other --bg broken\nprint('before')\n1 / 0",
        HOLD.format("--session third L4 --bg halted", hold),
        "train",
        "evaluate",
        "quick",
        "broken",
        "halted",
        "[train, evaluate, quick, broken, halted]",
        "broken.result()",
        "%modal_gpu status",
        "%%modal_gpu T4 --session fourth --bg dropped\n1",
    )
    for cell in (1, 2, 3, 4, 5):
        notebook.run(cell)
    expect(notebook.output(4)).to_contain_text("ZeroDivisionError", timeout=CELL_MS)
    expect(notebook.output(1)).to_contain_text("epoch 6", timeout=CELL_MS)
    expect(notebook.output(5)).to_contain_text("epoch 4", timeout=CELL_MS)
    for cell in (6, 7, 8, 9, 10, 11, 12, 13):
        notebook.run(cell)
    take(notebook, [*range(1, 14)], scene.folder / "background-running")
    notebook.page.evaluate(
        "window.jupyterapp.shell.currentWidget.content.model.cells.get(14).sharedModel.setSource('halted.cancel()')"
    )
    notebook.run(14)
    expect(notebook.output(5)).to_contain_text("KeyboardInterrupt", timeout=CELL_MS)
    scene.enough.touch()
    expect(notebook.output(2).locator("summary")).to_contain_text("done", timeout=CELL_MS)
    for cell in (11, 13):
        notebook.run(cell)
    take(notebook, [1, 2, 5, 6, 7, 10, 11, 13], scene.folder / "background-ended")
    notebook.end()


def costs(scene: Scene) -> None:
    """The report of costs, of a ledger with real, simulated and unknown costs."""
    lines = ("%modal_gpu costs", "%modal_gpu costs today", "%modal_gpu costs month", "%modal_gpu costs week --bill")
    notebook = scene.open("costs.ipynb", RECORDS, *lines)
    notebook.run(3)
    take(notebook, [3], scene.folder / "costs-empty")
    for cell in range(1, 6):
        notebook.run(cell)
    take(notebook, [2, 3, 4, 5], scene.folder / "costs")
    notebook.end()


def leaving(scene: Scene) -> None:
    """The bar below a cell, and attaching in mid-run and after the end."""
    hold = HOLD.format("H100:2 --session fine-tuning-of-a-model --detach", str(scene.enough))
    extra = ("%modal_gpu attach", "%modal_gpu attach fine-tuning-of-a-model", "%modal_gpu status")
    notebook = scene.open("leaving.ipynb", hold, *extra)
    notebook.start(1)
    expect(notebook.output(1)).to_contain_text("epoch 5", timeout=CELL_MS)
    notebook.save()
    pid = int(notebook.output(0).inner_text().rpartition("pid ")[2])

    def come_back() -> Notebook:
        os.kill(pid, signal.SIGKILL)
        notebook.end()
        scene.page.goto("about:blank")
        return Notebook(scene.page, scene.lab.address("leaving.ipynb"))

    notebook = come_back()
    take(notebook, [1], scene.folder / "leaving-reopened")
    notebook.run(0)
    notebook.run(2)
    notebook.run(4)
    bar = notebook.page.get_by_role("group", name="Detached session")
    expect(bar).to_be_visible(timeout=CELL_MS)
    take(notebook, [0, 1, 2, 4], scene.folder / "leaving-bar-running")
    bar.get_by_role("button", name="Attach").click()
    expect(notebook.output(1)).to_contain_text("epoch 5", timeout=CELL_MS)
    expect(notebook.cell(1).get_by_role("region", name="GPU dashboard")).to_be_visible(timeout=CELL_MS)
    take(notebook, [1], scene.folder / "leaving-attached")
    pid = int(notebook.output(0).inner_text().rpartition("pid ")[2])
    notebook = come_back()
    scene.enough.touch()
    notebook.run(0)
    expect(bar).to_contain_text("Ended", timeout=CELL_MS)
    take(notebook, [1], scene.folder / "leaving-bar-ended")
    bar.get_by_role("button", name="Attach").click()
    expect(notebook.cell(1).locator("summary")).to_contain_text("done", timeout=CELL_MS)
    notebook.save()
    take(notebook, [1], scene.folder / "leaving-attached-after")
    notebook.restart()
    notebook.run(0)
    expect(bar).to_contain_text("can be continued", timeout=CELL_MS)
    notebook.run(3)
    notebook.run(2)
    take(notebook, [1, 2, 3], scene.folder / "leaving-bar-continued")
    notebook.end()


def notifications(scene: Scene) -> None:
    """The buttons that ask the browser, and what is said where it refuses."""
    for name, script in (("unasked", UNASKED), ("blocked", BLOCKED)):
        browser = scene.page.context.browser
        assert browser is not None
        page = browser.new_page(viewport={"width": 1150, "height": 1400})
        page.add_init_script(
            script + ";Object.defineProperty(navigator, 'userActivation', {get: () => ({isActive: false})})"
        )
        own = Scene(page, scene.lab, scene.user, scene.folder)
        notebook = own.open(
            f"{name}.ipynb",
            "%config ModalGpu.notify = True",
            "%config ModalGpu.dashboard = False",
            HOLD.format("T4", str(scene.enough)),
        )
        notebook.run(1)
        expect(page.locator(".mga")).to_be_visible(timeout=CELL_MS)
        take(notebook, [1], scene.folder / f"notifications-{name}")
        if name == "unasked":
            notebook.run(2)
            notebook.start(3)
            expect(notebook.cell(3).locator(".mga")).to_be_visible(timeout=CELL_MS)
            take(notebook, [3], scene.folder / "notifications-running")
        notebook.end()
        page.close()


SCENES: Final = {each.__name__: each for each in (background, costs, leaving, notifications)}


def main(folder: Path, *names: str) -> None:
    """Take them all, or those of some scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or SCENES:
        with User() as user, browser_page() as (page, lab):
            page.on("dialog", lambda dialog: dialog.accept())
            SCENES[name](Scene(page, lab, user, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
