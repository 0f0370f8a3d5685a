"""Pages loaded while a cell runs, which receive the cell's output through its dashboard.

Jupyter sends a cell's output only to the page that ran the cell, so a page loaded later would lose the output. Such a
page asks for it (`js/src/follow.ts`), receives all output so far and then each publication, and writes them into the
notebook that it shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.session.run.interrupts import callback
from modal_gpu_magic.ui.widgets.journal import Act
from modal_gpu_magic.wire.values.own_code import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.ui.widgets.dashboard import Dashboard


class Pages:
    """Sends the publications of a run, in order, to the pages that follow it. Called on the main thread only."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._dashboard: Dashboard | None = None
        self._late: list[Act] | None = None
        """Publications after the end of the run, which belong below its error; None: the run goes on."""

    def ask(self, dashboard: Dashboard | None) -> bool:
        """Return whether a page has asked since the last call; the page follows from now on."""
        if dashboard is None or not dashboard.asked.is_set():
            return False
        dashboard.asked.clear()
        self._dashboard = dashboard
        return True

    def tell(self, *acts: Act) -> None:
        """Send publications to the pages; after the end of the run, once IPython has shown its error."""
        if self._late is not None:
            self._late += acts
        elif self._dashboard is not None:
            self._dashboard.tell(acts)

    def end(self, close: Callable[[], None]) -> None:
        """End the run; call `close` after the last message to the pages, since IPython shows an error after the run."""
        if self._dashboard is None:
            close()
            return
        self._late = []

        @callback
        def last(result: Any) -> None:
            self._shell.events.unregister("post_run_cell", last)
            late, self._late = self._late or [], None
            count = self._shell.execution_count if result is None else result.execution_count
            self.tell(*self._error(result), *late, Act("done", {"execution_count": count}))
            self._dashboard = None
            close()

        self._shell.events.register("post_run_cell", last)

    def _error(self, result: Any) -> Iterable[Act]:
        # After a press at the cell's very end, IPython has no result.
        error = None if result is None else result.error_before_exec or result.error_in_exec
        if error is not None:
            name, words = type(error).__name__, words_of(error)
            lines = getattr(self._shell, "_last_traceback", None) or [f"{name}: {words}"]
            yield Act("error", {"ename": name, "evalue": words, "traceback": list(lines)})
