"""The notebook's front: a status line that becomes a dashboard, and a cell's events as iopub messages."""

from __future__ import annotations

import importlib.util
import uuid
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.ui.fronts.captures import Captures
from modal_gpu_magic.ui.fronts.pages import Pages
from modal_gpu_magic.ui.fronts.ranks import Tabs
from modal_gpu_magic.ui.fronts.receipt import status_text
from modal_gpu_magic.ui.fronts.shell import MARK, QUIET_SECONDS, ShellFront, cell_number
from modal_gpu_magic.ui.widgets.journal import Act
from modal_gpu_magic.ui.widgets.preload import import_widgets

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.session.run.front import State
    from modal_gpu_magic.ui.fronts.live import Live
    from modal_gpu_magic.ui.fronts.ranks import RankOutput

AGAIN_BYTES = 1 << 20
"""A cell that has put out more when its dashboard comes has the dashboard below that."""


class NotebookFront(ShellFront):
    """Shows a run in a kernel's cell. All calls come on the main thread."""

    def __init__(
        self, shell: InteractiveShell, *, quiet: bool = False, widgets: bool = True, dashboard: bool = True
    ) -> None:
        super().__init__(shell, quiet=quiet)
        self.widgets = widgets
        self.status_id: str | None = None
        self._has_dashboard = dashboard and widgets and not quiet
        self._pages = Pages(shell)
        self._captures = Captures()
        self._unsaid: list[str] = []
        """Lines of ours that came while a widget captured the cell's output."""
        self._ranks_id = uuid.uuid4().hex

    def show(self, state: State) -> None:
        """One line, replaced in place; then a dashboard in that place."""
        if self.quiet:
            return
        if self._captures:  # what is shown now would be shown in the widget
            if self.live is not None and self._is_open:
                self.live.show(state)
            return
        self._let_pages_in()
        if self.live is not None and self._has_dashboard and self.live.due:
            self._open_dashboard(self.live, state)
        elif self.live is not None and self._is_open:
            self.live.show(state)
        elif self.status_id is not None or state.seconds >= QUIET_SECONDS:
            if self.live is not None:
                self.live.show(state)
            self._status({"text/plain": status_text(state)}, "status")

    def say(self, text: str) -> None:
        """A line of ours, beside the cell's output."""
        if self._captures:
            self._unsaid.append(text)
            return
        self._flush()
        note = _displayed({"text/plain": text}, "note")
        self._display(note.content)
        self._journal.add(note)
        if self.live is not None:
            self.live.notice(text)

    def broke_off(self, outcome: str) -> None:
        """What was shown of it says so, and moves no more; where nothing was, the error is enough."""
        self._finish_ranks()
        if self.status_id is not None:
            asked = f"{self.live.about.asked} · " if self.live is not None else ""
            self._end(f"{asked}{outcome} before it ran")

    def _end(self, text: str, heading: tuple[str, str] | None = None) -> None:
        """The last line takes the status line's place; a dashboard's, with what it showed as a picture."""
        for content in self._captures.end():
            self._comm("comm_msg", {"content": content, "metadata": {}, "buffers": None})
        self._say_unsaid()
        line = {"text/plain": text}
        self.kept = self.live.end(text, heading) if self.live is not None else line
        if not self.quiet:
            self._status(self.kept if self._is_open else line, "receipt")
        if self._clear_next:
            self._clear_output(wait=True)
        if self.live is not None:
            self._pages.end(self.live.close)
        if self.widgets:
            import_widgets()

    def _let_pages_in(self) -> None:
        """A page that was loaded anew gets all there is; what follows it hears as it comes."""
        if self.live is None or not self._pages.ask(self.live.dashboard):
            return
        acts = self._journal.acts
        if acts is not None:  # else it goes on below what its notebook had when it was saved
            head = _displayed(self.live.bundle[0], "dashboard", self.status_id)
            self._pages.tell(Act("clear_output", {"wait": False}), head, *acts)
        if self._ranks is not None and self._ranks.shown is not None:
            self._pages.tell(_displayed(self._ranks.shown, "ranks", self._ranks_id))

    def _open_dashboard(self, live: Live, state: State) -> None:
        """Above what the cell has put out so far: that is taken back and put out again below."""
        little = self._ranks is None and self._journal.size <= AGAIN_BYTES
        again = (self._journal.acts if little else None) or ()
        if again:
            self._clear_all(wait=True)
        bundle, metadata = live.open(state)
        self._status(bundle, "dashboard", metadata)
        for act in again:
            self._publishers[act.kind](act.content)

    @property
    def _is_open(self) -> bool:
        """Whether a dashboard is shown."""
        return self.live is not None and self.live.dashboard is not None

    @property
    def _is_captured(self) -> bool:
        return bool(self._captures)

    def _clear_around_dashboard(self, *, wait: bool) -> None:
        """Take back the cell's output; the dashboard stays."""
        super()._clear_around_dashboard(wait=wait or self._is_open)
        if self.live is not None and self._is_open:
            bundle, metadata = self.live.bundle
            self._status(bundle, "dashboard", metadata)

    def _clear_all(self, *, wait: bool) -> None:
        self._flush()
        self.status_id = None  # it is cleared with the rest, and needs a place of its own
        self._clear_output(wait=wait)

    def _say_unsaid(self) -> None:
        lines, self._unsaid = self._unsaid, []
        for line in lines:
            self.say(line)

    def _status(self, bundle: dict[str, Any], kind: str, metadata: dict[str, Any] | None = None) -> None:
        update = self.status_id is not None
        self.status_id = self.status_id or uuid.uuid4().hex
        self._flush()
        marked = {**(metadata or {}), MARK: {"kind": kind}}
        self._publish(bundle, marked, {"display_id": self.status_id}, update=update)

    def _tell(self, act: Act) -> None:
        """A page that was loaded anew hears of it; of what a widget captured the widget tells."""
        if not self._captures:
            self._pages.tell(act)

    def _result(self, content: dict[str, Any]) -> None:
        self._flush()
        hook: Any = self.shell.displayhook
        message = {
            "data": content["data"],
            "metadata": content["metadata"],
            "execution_count": cell_number(self.shell),
        }
        hook.session.send(hook.pub_socket, "execute_result", message, parent=hook.parent_header, ident=hook.topic)
        self._tell(Act("execute_result", message))

    def _rank_output(self) -> RankOutput:
        """Tabs where somebody can look at them, else lines with their rank."""
        tabs = self.widgets and importlib.util.find_spec("ipywidgets") is not None
        return Tabs(self._show_ranks) if tabs else super()._rank_output()

    def _show_ranks(self, bundle: dict[str, Any], *, update: bool) -> None:
        self._flush()
        self._publish(bundle, {MARK: {"kind": "ranks"}}, {"display_id": self._ranks_id}, update=update)

    def _error(self, content: dict[str, Any]) -> None:
        """An error shown in passing, as `%run bad.py` does: the cell goes on."""
        self._flush()
        hook: Any = self.shell.displayhook
        hook.session.send(hook.pub_socket, "error", content, parent=hook.parent_header, ident=hook.topic)
        self._tell(Act("error", content))

    def _clear(self, content: dict[str, Any]) -> None:
        if self._captures:
            self._flush()
            self._clear_output(wait=content["wait"])
        else:
            super()._clear(content)

    def _comm(self, kind: str, content: dict[str, Any]) -> None:
        """A widget made in the container: its messages go to the front end as if they came from here."""
        self._flush()
        kernel: Any = self.shell.kernel  # type: ignore[attr-defined]  # ipykernel's shell has it
        hook: Any = self.shell.displayhook
        kernel.session.send(
            kernel.iopub_socket,
            kind,
            content["content"],
            metadata=content["metadata"],
            parent=hook.parent_header,
            buffers=content["buffers"] or None,
        )
        self._captures.take(content["content"])
        if not self._captures:
            self._say_unsaid()


def _displayed(bundle: dict[str, Any], kind: str, display_id: str | None = None) -> Act:
    """The act of showing something of ours."""
    transient = {"display_id": display_id} if display_id else {}
    return Act("display_data", {"data": bundle, "metadata": {MARK: {"kind": kind}}, "transient": transient})
