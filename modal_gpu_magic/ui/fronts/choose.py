"""Which front shows a run: the notebook's in a kernel, else the terminal's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.ui.fronts.asking import can_ask
from modal_gpu_magic.ui.fronts.notebook import NotebookFront

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.ui.fronts.shell import ShellFront


def front_for(shell: InteractiveShell, *, quiet: bool, dashboard: bool = False) -> ShellFront:
    """The front that fits where the cell was run: a kernel, or a terminal."""
    if getattr(shell, "kernel", None) is None:
        from modal_gpu_magic.ui.fronts.terminal import TextFront

        return TextFront(shell, quiet=quiet)
    return NotebookFront(shell, quiet=quiet, widgets=can_ask(shell), dashboard=dashboard)
