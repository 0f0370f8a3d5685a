"""The event loop a session's cells run in. As in a kernel it is running while any cell runs.

So `asyncio.create_task` works in a cell without `await`, and `asyncio.run` is refused in the same words as there.
Unlike a kernel's it stands still between two cells: a task goes on with the next one.
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
    """Runs plain cells and cells that await. `claim()` is called where a cell's own code is about to run."""

    def __init__(self, claim: Callable[[], object]) -> None:
        self.stopping = False
        """A coroutine is being cancelled because KeyboardInterrupt came while it waited."""
        self._claim = claim
        self._loop = asyncio.new_event_loop()
        self._context = copy_context()
        """A context variable that a plain cell sets (numpy keeps its error state in one) is set in the next cell."""

    def within(self, function: Callable[[], T]) -> T:
        """Call a function of ours in the cells' context: numpy's and decimal's settings are context variables."""
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
            handle.cancel()  # interrupted before its turn, it would run with the next cell
        return results[0]

    @interruptible
    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a cell that awaits. KeyboardInterrupt cancels it: else it would go on with the next cell that awaits."""
        if self._loop.is_running():  # a cell that runs a cell that awaits: a kernel refuses it in the same words
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
