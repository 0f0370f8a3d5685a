"""Callbacks around each cell that runs natively in the kernel.

Before the cell: import in the kernel the modules that remote cells imported and the cell uses. After the cell: release
the identities of deleted objects, and say how to get a file that the cell has missed and a container has.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.session.run.interrupts import callback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

    from modal_gpu_magic.ui.magics.kernel_state import KernelState

EVENT = "pre_run_cell"
"""IPython event before each cell; its argument has the cell's text."""

AFTER = "post_run_cell"
"""IPython event after each cell."""

_IDENTITY_MODULE = "modal_gpu_magic.wire.pickles.identity"
"""Imported by the first session. Until then no identity table exists."""

_DEFERRED_IMPORTS_MODULE = "modal_gpu_magic.session.values.deferred_imports"
"""Imported by the first session. Until then no import is deferred, so native cells have no overhead."""


def install(state: KernelState) -> None:
    """Register the callbacks in the kernel's shell."""
    shell = state.shell

    @callback
    def prepare(info: ExecutionInfo) -> None:
        import_used_modules(info)
        _release_resized_arrays(info, shell)

    def import_used_modules(info: ExecutionInfo) -> None:
        deferred_imports: Any = sys.modules.get(_DEFERRED_IMPORTS_MODULE)
        if deferred_imports is None or not deferred_imports.deferred(shell.user_ns):
            return
        from modal_gpu_magic.line.cell import split_cell

        source = info.raw_cell if isinstance(info.raw_cell, str) else ""
        if split_cell(source) is None:
            deferred_imports.import_for(source, shell.user_ns, shell.transform_cell)

    @callback
    def release_deleted_objects(_: object) -> None:
        identity: Any = sys.modules.get(_IDENTITY_MODULE)
        for table in identity.TABLES if identity is not None else ():
            table.prune()

    @callback
    def offer_missed_file(result: ExecutionResult | None) -> None:
        error = getattr(result, "error_in_exec", None)  # after a press at the cell's very end, IPython has no result
        if isinstance(error, FileNotFoundError) and state.sessions:
            source = getattr(getattr(result, "info", None), "raw_cell", None)
            for line in _about_missed_file(error, source, state):
                print(line, file=sys.stderr)

    shell.events.register(EVENT, prepare)
    shell.events.register(AFTER, release_deleted_objects)
    shell.events.register(AFTER, offer_missed_file)


def _about_missed_file(error: FileNotFoundError, source: object, state: KernelState) -> Iterator[str]:
    """Yield how to get the file that a native cell has missed from each session whose cells wrote the file."""
    from modal_gpu_magic.line.cell import split_cell
    from modal_gpu_magic.session.run.hints import missed_file_hint

    if not isinstance(source, str) or split_cell(source) is not None:
        return  # a remote cell's error has its hint from the session
    for session in state.sessions.values():
        words = missed_file_hint(error, session.files, session.name)
        if words is not None:
            yield words


def _release_resized_arrays(info: ExecutionInfo, shell: InteractiveShell) -> None:
    """Give up the identities of the arrays that a cell may resize."""
    identity: Any = sys.modules.get(_IDENTITY_MODULE)
    source = info.raw_cell if isinstance(info.raw_cell, str) else ""
    if identity is None or ".resize(" not in source:
        return
    from modal_gpu_magic.line.cell import split_cell
    from modal_gpu_magic.wire.values.resizing import named_in

    if split_cell(source) is None:
        for table in identity.TABLES:
            table.release_arrays(named_in(source, shell.user_ns))


def remove(shell: InteractiveShell) -> None:
    """Unregister the callbacks, including those of a reloaded module, which are found by name."""
    for event, name in ((EVENT, "prepare"), (AFTER, "release_deleted_objects"), (AFTER, "offer_missed_file")):
        callbacks: list[Any] = shell.events.callbacks[event]
        callbacks[:] = [each for each in callbacks if getattr(each, "__name__", "") != name]
