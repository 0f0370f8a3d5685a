"""What the next widget needs, imported while nobody waits: %load_ext and a first cell must not take that time."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading

WIDGETS = "modal_gpu_magic.ui.widgets.picker"
"""Its import brings anywidget and ipywidgets: a tenth of a second."""


def import_widgets() -> None:
    """Import them in a thread, once; where they are not installed nothing happens, and who needs them says so."""
    if WIDGETS not in sys.modules:
        threading.Thread(target=_import, name="modal-gpu-widgets", daemon=True).start()


def _import() -> None:
    with contextlib.suppress(ImportError):
        importlib.import_module(WIDGETS)
