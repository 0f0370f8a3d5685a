"""Pictures of real runs, light and dark: `python -m tests.browser.shots FOLDER`. Look at them, and mend what is ugly.

Those that README shows are in notebooks/images.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from tests.browser.lab import CHROMIUM, CHROMIUM_FLAGS, Lab, Notebook

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


def main(folder: Path) -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as files,
        tempfile.TemporaryDirectory() as home,
        Lab(Path(files), Path(home)) as lab,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1150, "height": 1400})
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
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
