"""The event loop of a session's cells. As in a kernel, the loop is running while any cell runs.

So `asyncio.create_task` works in a cell without `await`, and `asyncio.run` raises the same error as in a kernel. Unlike
a kernel's loop, this loop stops between two cells: a task continues in the next cell.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.container.process.interrupt import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class CellLoop:
    """Runs plain cells and cells that await. The loop calls `claim()` just before the cell's own code."""

    def __init__(self, claim: Callable[[], object]) -> None:
        self.stopping = False
        """A coroutine is being cancelled because KeyboardInterrupt was raised while it waited."""
        self._claim = claim
        self._loop = asyncio.new_event_loop()
        self._context = copy_context()
        """Shared by all cells: a context variable set in one cell (numpy's error state) is set in the next one."""

    def within(self, function: Callable[[], T]) -> T:
        """Call `function` in the cells' context: numpy and decimal keep their settings in context variables."""
        return self._context.run(function)

    @interruptible
    def run_plain(self, cell: Callable[[], T]) -> T:
        """Run a cell that awaits nothing."""
        results: list[T] = []

        @interruptible
        def run() -> None:
            try:
                self._claim()
                results.append(cell())
            finally:
                self._loop.stop()

        handle = self._loop.call_soon(run, context=self._context)
        try:
            self._loop.run_forever()
        finally:
            handle.cancel()  # otherwise an interrupted callback would run with the next cell
        return results[0]

    @interruptible
    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a cell that awaits. KeyboardInterrupt cancels the task: otherwise it would continue in the next cell."""
        if self._loop.is_running():  # a cell runs a cell that awaits: same error as in a kernel
            return self._loop.run_until_complete(coroutine)
        self._context.run(self._claim)
        task = self._context.run(self._loop.create_task, coroutine)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            if task.done():
                raise
            self.stopping = True
            task.cancel()
            return self._loop.run_until_complete(task)
        finally:
            self.stopping = False
