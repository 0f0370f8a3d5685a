"""What happens around each cell that runs in the kernel itself.

Before: names that remote cells imported are imported here. After: values that the cell deleted are given up.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

EVENT = "pre_run_cell"
"""IPython's event before each cell, which has the cell's text."""

AFTER = "post_run_cell"

_TABLES = "modal_gpu_magic.wire.pickles.identity"
"""Loaded by the first session. Before, no object is held."""

_STAND_INS = "modal_gpu_magic.session.values.deferred_imports"
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

    def give_up_what_is_deleted(_: object) -> None:
        identity: Any = sys.modules.get(_TABLES)
        for table in identity.TABLES if identity is not None else ():
            table.prune()

    shell.events.register(EVENT, import_what_is_used)
    shell.events.register(AFTER, give_up_what_is_deleted)


def remove(shell: InteractiveShell) -> None:
    """Leave the shell as it was. Also a reloaded module's callbacks go: they are known by name."""
    for event, name in ((EVENT, "import_what_is_used"), (AFTER, "give_up_what_is_deleted")):
        callbacks: list[Any] = shell.events.callbacks[event]
        callbacks[:] = [each for each in callbacks if getattr(each, "__name__", "") != name]
