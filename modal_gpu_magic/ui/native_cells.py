"""What happens before each cell that runs in the kernel itself: names that remote cells imported are imported here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

EVENT = "pre_run_cell"
"""IPython's event before each cell, which has the cell's text."""

_STAND_INS = "modal_gpu_magic.session.deferred_imports"
"""Loaded by the first session. Before, nothing is deferred, and native cells pay nothing."""


def install(shell: InteractiveShell) -> None:
    """Call back before each cell of a shell."""

    def import_what_is_used(info: ExecutionInfo) -> None:
        deferred_imports: Any = sys.modules.get(_STAND_INS)
        if deferred_imports is None or not deferred_imports.deferred(shell.user_ns):
            return
        from modal_gpu_magic.line.cell import split_cell

        source = info.raw_cell if isinstance(info.raw_cell, str) else ""
        if split_cell(source) is None:
            deferred_imports.import_for(source, shell.user_ns, shell.transform_cell)

    shell.events.register(EVENT, import_what_is_used)


def remove(shell: InteractiveShell) -> None:
    """Leave the shell as it was. Also a reloaded module's callbacks go: they are known by name."""
    callbacks: list[Any] = shell.events.callbacks[EVENT]
    callbacks[:] = [each for each in callbacks if getattr(each, "__name__", "") != "import_what_is_used"]
