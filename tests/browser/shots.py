"""Pictures of real runs, light and dark: `python -m tests.browser.shots FOLDER`. Look at them, and mend what is ugly.

Those that README shows are in notebooks/images. `python -m tests.browser.shots FOLDER states` takes every state of the
dashboard, from made-up readings, at three widths of the page.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from playwright.sync_api import sync_playwright

from tests.browser.feed import FEED, STATES
from tests.browser.lab import CHROMIUM, CHROMIUM_FLAGS, Lab, Notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

TRAIN: Final = """\
%%modal_gpu {line}
import time, torch
from torch.nn.functional import cross_entropy
model = torch.nn.Linear(512, 10)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for epoch in range({epochs}):
    x, y = torch.randn(8192, 512), torch.randint(10, (8192,))
    for _ in range(20):
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    if epoch % 20 == 0: print(f"epoch {{epoch}} loss {{loss.item():.3f}}")
    time.sleep(0.1)"""
CELLS: Final = (
    "%load_ext modal_gpu_magic",
    "%modal_gpu picker H100:2,A100-80GB:2",
    TRAIN.format(line="H100:2 A100-80GB:2", epochs=110),
    TRAIN.format(line="H100:8 --nodes 2 --torchrun 1", epochs=110),
)


def take(notebook: Notebook, cell: int, to: Path) -> None:
    """A cell, in both themes."""
    for theme in ("Light", "Dark"):
        notebook.theme(f"JupyterLab {theme}")
        notebook.page.wait_for_timeout(2500)  # a chart follows at its next reading
        notebook.cell(cell).screenshot(path=to.with_name(f"{to.name}-{theme.lower()}.png"))


def runs(page: Page, lab: Lab, folder: Path) -> None:
    """Real runs: while they go on, and what they leave."""
    notebook = Notebook(page, lab.address(lab.write("shots.ipynb", CELLS)))
    notebook.run(0)
    notebook.run(1)
    for cell, name, line in ((2, "dashboard", "40 "), (3, "cluster", "20 ")):
        notebook.start(cell)
        notebook.cell(cell).get_by_text(f"epoch {line}").first.wait_for(timeout=120_000)
        take(notebook, cell, folder / name)
        if cell == 2:
            notebook.cell(1).get_by_label("Model", exact=True).select_option("34B")
            take(notebook, 1, folder / "picker")
        notebook.ended(cell)
        take(notebook, cell, folder / f"{name}-kept")
    notebook.end()


def states(page: Page, lab: Lab, folder: Path) -> None:
    """Every state of the dashboard at three widths."""
    notebook = Notebook(page, lab.address(lab.write("states.ipynb", [FEED, *STATES.values()])))
    notebook.command("application:toggle-left-area")
    for cell in range(len(STATES) + 1):
        notebook.run(cell)
    for theme in ("Light", "Dark"):
        notebook.theme(f"JupyterLab {theme}")
        for width in (1400, 800, 390):
            page.set_viewport_size({"width": width, "height": 1600})
            page.wait_for_timeout(1500)  # a chart follows the width and the theme
            for cell, name in enumerate(STATES, 1):
                notebook.cell(cell).locator(".mgd").screenshot(path=folder / f"{name}-{width}-{theme.lower()}.png")
    notebook.end()


@contextmanager
def browser_page(width: int = 1150, height: int = 1400) -> Iterator[tuple[Page, Lab]]:
    """A page, and a JupyterLab of its own."""
    with (
        tempfile.TemporaryDirectory() as files,
        tempfile.TemporaryDirectory() as home,
        Lab(Path(files), Path(home)) as lab,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield browser.new_page(viewport={"width": width, "height": height}), lab
        browser.close()


def main(folder: Path, kind: str = "runs") -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser_page() as (page, lab):
        {"runs": runs, "states": states}[kind](page, lab, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
