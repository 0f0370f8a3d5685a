"""Bring the values of background cells to the notebook between two cells, on the kernel's main thread.

ipykernel's event loop runs them when the kernel is idle. A plain IPython has no such loop while it waits for a line:
the values come before the next cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.session.run.interrupts import callback
from modal_gpu_magic.session.run.main_thread import MAIN_THREAD

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from IPython.core.interactiveshell import InteractiveShell

BEFORE, AFTER = "pre_run_cell", "post_run_cell"
"""IPython events before and after each cell."""


class BetweenCells:
    """Runs what waits for the main thread, and never while a cell runs: a cell may await, and give way to the loop."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._beside: AbstractContextManager[None] | None = None
        """Answers the Stop of background cells while a cell of the notebook blocks the main thread."""
        self._loop: Any = getattr(getattr(shell, "kernel", None), "io_loop", None)
        self._depth = 0

    @callback
    def before_cell(self, _info: object) -> None:
        """Run what waits, before a cell."""
        if self._depth == 0:
            MAIN_THREAD.run_pending()
            self._show()
            self._answer()
        self._depth += 1

    @callback
    def after_cell(self, _result: object) -> None:
        """Note the end of a cell; what waits runs once the kernel is idle."""
        self._depth = max(0, self._depth - 1)
        if self._depth == 0 and self._beside is not None:
            self._beside.__exit__(None, None, None)
            self._beside = None
        if MAIN_THREAD.waits:
            self.arrange()

    def arrange(self) -> None:
        """Run what waits as soon as no cell runs. Called from any thread."""
        if self._loop is not None:
            self._loop.add_callback(self._when_idle)

    def _when_idle(self) -> None:
        if self._depth == 0:
            MAIN_THREAD.run_pending()

    def _answer(self) -> None:
        if MAIN_THREAD.runs and self._beside is None:
            from modal_gpu_magic.ui.widgets.shell_channel import answering

            self._beside = answering(self._shell)
            self._beside.__enter__()

    @staticmethod
    def _show() -> None:
        while MAIN_THREAD.before_cell:
            MAIN_THREAD.before_cell.pop()()


def install(shell: InteractiveShell) -> None:
    """Register the callbacks in `shell`."""
    between = BetweenCells(shell)
    shell.events.register(BEFORE, between.before_cell)
    shell.events.register(AFTER, between.after_cell)
    MAIN_THREAD.on_call = between.arrange


def remove(shell: InteractiveShell) -> None:
    """Unregister the callbacks, including those of a reloaded module, which are found by name."""
    for event, name in ((BEFORE, "before_cell"), (AFTER, "after_cell")):
        callbacks: list[Any] = shell.events.callbacks[event]
        callbacks[:] = [each for each in callbacks if getattr(each, "__name__", "") != name]
