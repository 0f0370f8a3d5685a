"""The notebook front: a status line that becomes a dashboard, the cell's events as iopub messages, and a card below."""

from __future__ import annotations

import importlib.util
import uuid
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.session.run.front import BEFORE_CELL
from modal_gpu_magic.ui.fronts.captures import Captures
from modal_gpu_magic.ui.fronts.card import SEPARATOR, Card, note_bundle
from modal_gpu_magic.ui.fronts.live import Live
from modal_gpu_magic.ui.fronts.pages import Pages
from modal_gpu_magic.ui.fronts.picture import charts
from modal_gpu_magic.ui.fronts.ranks import Tabs
from modal_gpu_magic.ui.fronts.receipt import status_text
from modal_gpu_magic.ui.fronts.shell import MARK, QUIET_SECONDS, ShellFront, cell_number
from modal_gpu_magic.ui.widgets.journal import Act
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.ui.widgets.preload import import_widgets
from modal_gpu_magic.ui.widgets.reader import ask_time_zone

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.session.run.front import About, State
    from modal_gpu_magic.ui.fronts.picture import Chart
    from modal_gpu_magic.ui.fronts.ranks import RankOutput
    from modal_gpu_magic.ui.fronts.receipt import Container

EMPTY = {"text/plain": ""}
"""Replaces the status line after the run: front ends give it no height."""
MAX_REPLAYED_BYTES = 1 << 20
"""Most output that is published again below a new dashboard; with more output, the dashboard opens below."""


class NotebookFront(ShellFront):
    """Shows a run in a kernel's cell. All methods are called on the main thread."""

    def __init__(
        self,
        shell: InteractiveShell,
        *,
        quiet: bool = False,
        widgets: bool = True,
        dashboard: bool = True,
        notify_after: float | None = None,
    ) -> None:
        super().__init__(shell, quiet=quiet)
        self.widgets = widgets
        self.status_id: str | None = None
        self._has_dashboard = dashboard and widgets and not quiet
        self._has_charts = dashboard
        self._notify_after = notify_after
        self._name = f"Cell [{cell_number(shell)}]"
        self._drawn: tuple[Chart, ...] = ()
        self._card_id: str | None = None
        self._pages = Pages(shell)
        self._captures = Captures()
        self._deferred_notes: list[str] = []
        """Notes to show when no widget captures the cell's output any more."""
        self._ranks_id = uuid.uuid4().hex

    def _new_live(self, about: About, press: Callable[[], None]) -> Live:
        return Live(about, press, Origin.of(self.shell), notify_after=self._notify_after)

    def show(self, state: State) -> None:
        """Show the state in one line, replaced in place, and later in a dashboard in the same place."""
        if self.live is not None and self.widgets:
            self.live.watch(asks=not self._has_dashboard)
        if self.quiet:
            return
        if self._captures:  # the front end would put the status into the widget
            if self.live is not None and self._is_open:
                self.live.show(state)
            return
        self._serve_new_pages()
        if self.live is not None and self._has_dashboard and self.live.due:
            self._open_dashboard(self.live, state)
        elif self.live is not None and self._is_open:
            self.live.show(state)
        elif self.status_id is not None or state.seconds >= QUIET_SECONDS:
            if self.live is not None:
                self.live.show(state)
            self._status({"text/plain": status_text(state)}, "status")

    def say(self, text: str) -> None:
        """Show a note beside the cell's output."""
        if self._captures:
            self._deferred_notes.append(text)
            return
        note = _displayed(note_bundle(text), "note")
        self._display(note.content)
        self._journal.add(note)
        if self.live is not None:
            self.live.notice(text)

    def broke_off(self, outcome: str, words: str = BEFORE_CELL) -> None:
        """Show the outcome below the error; if no status was shown, the error alone is enough."""
        self._finish_ranks()
        if self.status_id is not None:
            asked = (self.live.about.asked,) if self.live is not None else ()
            self._card = Card(outcome, (*asked, words))
            self._end(raises=True)

    def update(self, container: Container | None = None) -> None:
        """Show the card again in its place. Called from any thread."""
        super().update(container)
        kept = None if self._card_id is None else self.kept
        if kept is not None:
            transient = {"display_id": self._card_id}
            self.shell.display_pub.publish(kept, self._mark("receipt"), transient=transient, update=True)

    @property
    def _charts(self) -> tuple[Chart, ...]:
        """The charts of the run, unless refused; drawn once, since later readings are not the run's."""
        return self._drawn

    def _end_live(self, *, raises: bool) -> None:
        """Empty the status line or the dashboard, unless the card can replace it because nothing is below."""
        for content in self._captures.end():
            self._comm("comm_msg", {"content": content, "metadata": {}, "buffers": None})
        self._show_deferred_notes()
        if self.live is not None:
            self.live.end(f"{self._name}: {self._card_words}")
        if self._receipt is not None and self._has_charts:
            self._drawn = charts(self._receipt.readings)
        if self.status_id is not None and not self._is_last(raises=raises):
            self._status(EMPTY, "status")
            self.status_id = None
        if raises and self._clear_next:
            self._clear_output(wait=True)
        if self.live is not None:
            self._pages.end(self.live.close)
        if self.widgets:
            import_widgets()
        if self._has_dashboard:
            ask_time_zone()

    @property
    def _card_words(self) -> str:
        """How the run ended: `done · H100 · 2:05`."""
        card = self.card
        return "ended" if card is None else SEPARATOR.join(card.line[:3])

    def _is_last(self, *, raises: bool) -> bool:
        """Whether the status line is below all output of the cell."""
        return not raises and self._ranks is None and not self._journal.size

    def _show_card(self) -> None:
        kept = self.kept
        if kept is not None:
            self._status(kept, "receipt")
            self._card_id = self.status_id
        if self._clear_next:
            self._clear_output(wait=True)

    def _serve_new_pages(self) -> None:
        """Send all output so far to pages loaded since the last call; they receive later output as it is published."""
        if self.live is None or not self._pages.ask(self.live.dashboard):
            return
        acts = self._journal.acts
        if acts is not None:  # else the page appends to its saved output
            head = _displayed(self.live.bundle[0], "dashboard", self.status_id)
            self._pages.tell(Act("clear_output", {"wait": False}), head, *acts)
        if self._ranks is not None and self._ranks.shown is not None:
            self._pages.tell(_displayed(self._ranks.shown, "ranks", self._ranks_id))

    def _open_dashboard(self, live: Live, state: State) -> None:
        """Open the dashboard above the output so far, which is cleared and published again below."""
        small = self._ranks is None and self._journal.size <= MAX_REPLAYED_BYTES
        replayed = (self._journal.acts if small else None) or ()
        if replayed:
            self._clear_all(wait=True)
        bundle, metadata = live.open(state)
        ask_time_zone()
        self._status(bundle, "dashboard", metadata)
        for act in replayed:
            self._publishers[act.kind](act.content)

    @property
    def _is_open(self) -> bool:
        """Whether a dashboard is shown."""
        return self.live is not None and self.live.dashboard is not None

    @property
    def _is_captured(self) -> bool:
        return bool(self._captures)

    def _clear_around_dashboard(self, *, wait: bool) -> None:
        """Clear the cell's output and keep the dashboard."""
        super()._clear_around_dashboard(wait=wait or self._is_open)
        if self.live is not None and self._is_open:
            bundle, metadata = self.live.bundle
            self._status(bundle, "dashboard", metadata)

    def _clear_all(self, *, wait: bool) -> None:
        self.status_id = None  # the status is cleared, too, and needs a new display
        self._clear_output(wait=wait)

    def _show_deferred_notes(self) -> None:
        lines, self._deferred_notes = self._deferred_notes, []
        for line in lines:
            self.say(line)

    def _status(self, bundle: dict[str, Any], kind: str, metadata: dict[str, Any] | None = None) -> None:
        update = self.status_id is not None
        self.status_id = self.status_id or uuid.uuid4().hex
        marked = {**(metadata or {}), **self._mark(kind)}
        self._publish(bundle, marked, {"display_id": self.status_id}, update=update)

    def _forward(self, act: Act) -> None:
        """Send published output to pages loaded during the run; captured output reaches them as the widget's state."""
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
        self._forward(Act("execute_result", message))

    def _rank_output(self) -> RankOutput:
        """Show ranks as tabs if a user sees them, else as lines with the rank."""
        tabs = self.widgets and importlib.util.find_spec("ipywidgets") is not None
        return Tabs(self._show_ranks) if tabs else super()._rank_output()

    def _show_ranks(self, bundle: dict[str, Any], *, update: bool) -> None:
        if not update:  # a display of a known id would replace the display before
            self._ranks_id = uuid.uuid4().hex
        self._publish(bundle, {MARK: {"kind": "ranks"}}, {"display_id": self._ranks_id}, update=update)

    def _error(self, content: dict[str, Any]) -> None:
        """Publish an error that does not end the cell, e.g. of `%run bad.py`."""
        self._flush()
        hook: Any = self.shell.displayhook
        hook.session.send(hook.pub_socket, "error", content, parent=hook.parent_header, ident=hook.topic)
        self._forward(Act("error", content))

    def _clear(self, content: dict[str, Any]) -> None:
        if self._captures:
            self._clear_output(wait=content["wait"])
        else:
            super()._clear(content)

    def _comm(self, kind: str, content: dict[str, Any]) -> None:
        """Publish a message of a widget made in the container as if the widget were in the kernel."""
        self._flush()
        kernel: Any = self.shell.kernel  # type: ignore[attr-defined]  # attribute of ipykernel's shell
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
            self._show_deferred_notes()


def _displayed(bundle: dict[str, Any], kind: str, display_id: str | None = None) -> Act:
    """Return the publication of an output of this extension."""
    transient = {"display_id": display_id} if display_id else {}
    return Act("display_data", {"data": bundle, "metadata": {MARK: {"kind": kind}}, "transient": transient})
