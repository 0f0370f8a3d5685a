"""Pictures of the picker's states, light and dark, at three widths: `python -m tests.browser.picker_shots FOLDER`.

Look at them, and mend what is ugly.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.browser.lab import Notebook
from tests.browser.shots import browser_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

WIDTHS: Final = (390, 800, 1400)
CELLS: Final = (
    "%load_ext modal_gpu_magic\n%modal_gpu picker H100",
    "",
    "%%modal_gpu H100:2\nimport time\ntime.sleep(3)",
)


def nothing(_picker: Locator) -> None:
    """The picker as it opens: no model, no session."""


def model(picker: Locator) -> None:
    """A model, two fallbacks, and a card under the pointer."""
    picker.get_by_label("Model", exact=True).select_option("34B")
    for name in ("A100-80GB", "L40S"):
        picker.get_by_label("Add a fallback").select_option(name)
    picker.locator(".mgp-card", has_text="L40S").hover()


def small(picker: Locator) -> None:
    """A choice that does not fit."""
    picker.get_by_role("button", name="Fewer GPUs").click()


def cluster(picker: Locator) -> None:
    """A model that no node holds."""
    picker.get_by_text("Pre-train").click()
    picker.get_by_label("Model", exact=True).select_option("405B")
    picker.get_by_label("Region", exact=True).select_option("eu")


def inserted(picker: Locator) -> None:
    """A sentence beside the buttons."""
    picker.get_by_label("Model", exact=True).select_option("")
    picker.get_by_role("button", name="Insert", exact=True).click()


STATES: Final[tuple[Callable[[Locator], None], ...]] = (nothing, model, small, cluster, inserted)


def take(notebook: Notebook, folder: Path, name: str) -> None:
    """One state at all widths, in both themes."""
    for theme in ("Light", "Dark"):
        notebook.theme(f"JupyterLab {theme}")
        for width in WIDTHS:
            notebook.page.set_viewport_size({"width": width, "height": 2600 if width < 500 else 1500})
            notebook.page.wait_for_timeout(300)  # JupyterLab lays its panels out a moment later
            notebook.cell(0).locator(".mgp").screenshot(path=folder / f"{name}-{width}-{theme.lower()}.png")
    notebook.page.set_viewport_size({"width": 1150, "height": 1300})


def main(folder: Path) -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser_page(1150, 1300) as (page, lab):
        notebook = Notebook(page, lab.address(lab.write("shots.ipynb", CELLS)))
        notebook.command("application:toggle-left-area")
        notebook.run(0)
        picker = notebook.cell(0).locator(".mgp")
        for state in STATES:
            state(picker)
            take(notebook, folder, state.__name__)
        notebook.run(2)
        take(notebook, folder, "idle")
        notebook.end()
        picker.get_by_text("The kernel has ended").first.wait_for()
        take(notebook, folder, "ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
