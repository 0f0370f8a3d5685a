"""Import widget libraries in the background, so that neither %load_ext nor a first cell waits for them."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading

WIDGETS = "modal_gpu_magic.ui.widgets.picker"
"""Importing this module imports anywidget and ipywidgets, which takes about 0.1 s."""


def import_widgets() -> None:
    """Import the widgets in a thread, once. If they are not installed, do nothing: later users of widgets report it."""
    if WIDGETS not in sys.modules:
        threading.Thread(target=_import, name="modal-gpu-widgets", daemon=True).start()


def _import() -> None:
    with contextlib.suppress(ImportError):
        importlib.import_module(WIDGETS)
