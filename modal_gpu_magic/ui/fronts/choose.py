"""Choose the front for a run: notebook in a kernel, terminal elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.ui.fronts.asking import can_ask
from modal_gpu_magic.ui.fronts.notebook import NotebookFront

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.ui.fronts.shell import ShellFront


def front_for(
    shell: InteractiveShell, *, quiet: bool, dashboard: bool = False, notify_after: float | None = None
) -> ShellFront:
    """Return a front for the shell in which the cell runs."""
    if getattr(shell, "kernel", None) is None:
        from modal_gpu_magic.ui.fronts.terminal import TextFront

        return TextFront(shell, quiet=quiet)
    return NotebookFront(shell, quiet=quiet, widgets=can_ask(shell), dashboard=dashboard, notify_after=notify_after)
