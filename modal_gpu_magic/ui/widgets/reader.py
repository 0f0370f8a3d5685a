"""The reader of the notebook: the time zone of the page, which may be far from the kernel's machine."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modal_gpu_magic.ui.widgets.preload import WIDGETS

_WIDGET = "modal_gpu_magic.ui.widgets.time_zone"


@dataclass(slots=True)
class Reader:
    """What the page has said of its reader.

    Attributes:
        zone: name of the time zone, `Europe/Berlin`; empty: no page has said, so times are the kernel's.
        watchers: called when the zone changes, from any thread.
        widget: the widget that asks the pages; None: not asked yet.
    """

    zone: str = ""
    watchers: list[Callable[[], None]] = field(default_factory=list)
    widget: Any = None

    def is_in(self, zone: str) -> None:
        """Record the reader's time zone."""
        if zone == self.zone:
            return
        self.zone = zone
        for watcher in tuple(self.watchers):
            watcher()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher` when the zone changes; return a function that ends this."""
        self.watchers.append(watcher)
        return lambda: self.watchers.remove(watcher) if watcher in self.watchers else None


READER = Reader()


def ask_time_zone() -> None:
    """Ask the pages for their time zone, once, by a widget without a view. Does nothing until widgets are imported."""
    if READER.widget is None and WIDGETS in sys.modules:
        with contextlib.suppress(ImportError):
            READER.widget = importlib.import_module(_WIDGET).TimeZone(READER.is_in)
