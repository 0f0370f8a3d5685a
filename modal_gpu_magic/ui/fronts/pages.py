"""Pages that are loaded anew while a cell runs: they hear of its output through its dashboard.

A page that runs a cell gets what the cell puts out; one that is loaded later does not, and the notebook would lose it.
So such a page asks (`js/src/follow.ts`), gets all that was put out, and then each act as it comes; it writes them into
the notebook that it shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.ui.widgets.journal import Act

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.ui.widgets.dashboard import Dashboard


class Pages:
    """Tells the pages that follow a run what is published, in order. All calls come on the main thread."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._dashboard: Dashboard | None = None

    def ask(self, dashboard: Dashboard | None) -> bool:
        """Whether a page has asked since the last call; it follows from now on."""
        if dashboard is None or not dashboard.asked.is_set():
            return False
        dashboard.asked.clear()
        self._dashboard = dashboard
        return True

    def tell(self, *acts: Act) -> None:
        """These acts were published."""
        if self._dashboard is not None:
            self._dashboard.tell(acts)

    def end(self, close: Callable[[], None]) -> None:
        """The run is over; `close` is called when nothing is told any more: an error is shown after the run."""
        if self._dashboard is None:
            close()
            return

        def last(result: Any) -> None:
            self._shell.events.unregister("post_run_cell", last)
            self.tell(*self._last_acts(result))
            self._dashboard = None
            close()

        self._shell.events.register("post_run_cell", last)

    def _last_acts(self, result: Any) -> Iterable[Act]:
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            name, words = type(error).__name__, str(error)
            lines = getattr(self._shell, "_last_traceback", None) or [f"{name}: {words}"]
            yield Act("error", {"ename": name, "evalue": words, "traceback": list(lines)})
        yield Act("done", {"execution_count": result.execution_count})
