"""A widget without a view: the browser's notification of the end of a long run, and the button that asks for it.

Pages show the button below one cell, and only where the browser has not been asked yet.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anywidget  # noqa: TID253 - this module is imported when widgets are
from traitlets import Bool, Unicode

if TYPE_CHECKING:
    from modal_gpu_magic.ui.widgets.origin import Origin

STATIC: Final = Path(__file__).parents[1] / "static"


class Notifier(anywidget.AnyWidget):
    """Notifies the pages that show the notebook. Methods are called from any thread."""

    _esm = STATIC / "notifier.js"
    _css = STATIC / "notifier.css"

    cell = Unicode("").tag(sync=True)
    """The cell with the button; empty: none has it."""
    code = Unicode("").tag(sync=True)
    wanted = Bool(False).tag(sync=True)
    """Whether the user has just said that notifications are wanted: a page may ask the browser at once."""

    def tell(self, text: str) -> None:
        """Show a notification."""
        self.send({"type": "news", "text": text})

    def ask_below(self, origin: Origin | None, *, wanted: bool = False) -> None:
        """Show the button below a cell, and below no other; None: below no cell."""
        facts = asdict(origin) if origin is not None else {}
        with self.hold_sync():
            self.cell, self.code, self.wanted = facts.get("cell", ""), facts.get("code", ""), wanted
