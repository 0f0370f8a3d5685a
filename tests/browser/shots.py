"""The pictures in README, taken from real runs: `python -m tests.browser.shots`. They show what is there, so look at them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from tests.browser.lab import CHROMIUM, CHROMIUM_FLAGS, ROOT, Lab, Notebook

FOLDER: Final = ROOT / "notebooks" / "images"
TRAIN: Final = """\
%%modal_gpu {line}
import time, torch
from torch.nn.functional import cross_entropy
model = torch.nn.Linear(512, 10)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for epoch in range({epochs}):
    x, y = torch.randn(8192, 512), torch.randint(10, (8192,))
    for _ in range(20):
        loss = cross_entropy(model(x), y); optimizer.zero_grad(); loss.backward(); optimizer.step()
    if epoch % 10 == 0: print(f"epoch {{epoch}} loss {{loss.item():.3f}}", flush=True)
    time.sleep(0.1)"""
CELLS: Final = (
    "%load_ext modal_gpu_magic",
    "%modal_gpu",
    TRAIN.format(line="H100:2 A100-80GB:2", epochs=140),
    TRAIN.format(line="H100:8 --nodes 2 --torchrun 1", epochs=140),
)


def take(notebook: Notebook, cell: int, name: str) -> None:
    """A cell, in both themes."""
    for theme in ("Light", "Dark"):
        notebook.theme(f"JupyterLab {theme}")
        notebook.page.wait_for_timeout(2500)  # a chart follows at its next reading
        notebook.cell(cell).screenshot(path=FOLDER / f"{name}-{theme.lower()}.png")


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as files,
        tempfile.TemporaryDirectory() as home,
        Lab(Path(files), Path(home)) as lab,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1000, "height": 1400}, device_scale_factor=1.25)
        notebook = Notebook(page, lab.address(lab.write("shots.ipynb", CELLS)))
        notebook.run(0)
        notebook.run(1)
        for cell, name, line in ((2, "dashboard", "100 "), (3, "cluster", "30 ")):
            notebook.start(cell)
            notebook.cell(cell).get_by_text(f"epoch {line}").first.wait_for(timeout=120_000)
            take(notebook, cell, name)
            if cell == 2:
                take(notebook, 1, "picker")
            notebook.ended(cell)
            take(notebook, cell, f"{name}-kept")
        notebook.end()
        browser.close()


if __name__ == "__main__":
    main()
