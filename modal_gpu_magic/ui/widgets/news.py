"""Tell the pages of a kernel that a long run has ended, by one widget that is made when the first run takes a while."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.ui.widgets.preload import WIDGETS, import_widgets

if TYPE_CHECKING:
    from modal_gpu_magic.ui.widgets.origin import Origin

_WIDGET: Final = "modal_gpu_magic.ui.widgets.notifier"


class News:
    """The notifications of a kernel.

    Attributes:
        asks_below: the cell with the button that asks for the browser's permission; None: none has it.
    """

    def __init__(self) -> None:
        self._widget: Any = None
        self.asks_below: Origin | None = None

    def prepare(self) -> bool:
        """Make the widget, and return whether the kernel has it. The first call imports widgets in a thread."""
        if self._widget is None and WIDGETS not in sys.modules:
            import_widgets()
        elif self._widget is None:
            self._make()
        return self._widget is not None

    def tell(self, text: str) -> None:
        """Show a notification where the browser may."""
        if self.prepare():
            self._widget.tell(text)

    def ask_below(self, origin: Origin) -> None:
        """Show the button below the cell of a run, if the browser has not been asked yet."""
        if self.asks_below != origin and self.prepare():
            self.asks_below = origin
            self._widget.ask_below(origin)

    def ask_now(self, origin: Origin) -> None:
        """Ask in the page that has just run this cell: by the browser's own question, else by the button."""
        if self._widget is None:
            self._make()
        if self._widget is not None:
            self.asks_below = origin
            self._widget.ask_below(None)  # a page asks when this changes
            self._widget.ask_below(origin, wanted=True)

    def ask_no_more(self, origin: Origin | None = None) -> None:
        """Remove the button: from the cell of a run that has ended, or from any cell."""
        if self._widget is not None and self.asks_below is not None and origin in (None, self.asks_below):
            self.asks_below = None
            self._widget.ask_below(None)

    def _make(self) -> None:
        with contextlib.suppress(ImportError):
            self._widget = importlib.import_module(_WIDGET).Notifier()


NEWS: Final = News()
"""The notifications of this kernel."""
