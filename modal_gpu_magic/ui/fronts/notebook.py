"""The fronts: a cell's events become iopub messages; what is ours is text with `modal_gpu` in its metadata."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.ui.fronts.captures import Captures
from modal_gpu_magic.ui.fronts.live import Live
from modal_gpu_magic.ui.fronts.pages import Pages
from modal_gpu_magic.ui.fronts.ranks import Prefixed, Tabs
from modal_gpu_magic.ui.fronts.receipt import heading, receipt_text, status_text
from modal_gpu_magic.ui.widgets.journal import Act, Journal
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.ui.widgets.preload import import_widgets
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.front import About, State
    from modal_gpu_magic.session.run.receipt import Receipt
    from modal_gpu_magic.ui.fronts.ranks import RankOutput
    from modal_gpu_magic.wire.messages.events import Event

AGAIN_BYTES = 1 << 20
"""A cell that has put out more when its dashboard comes has the dashboard below that."""
QUIET_SECONDS = 1.0
"""A cell that is faster shows no status line, just its receipt."""
SHOWN = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error"})
"""Kinds of events that put something into the cell's output."""
NEW = SHOWN - {"update_display_data"}
"""Those that put it at the end, so that a clear which waits for something new is due."""
MARK = "modal_gpu"
"""Metadata key of every output of ours, as opposed to the cell's."""


class NotebookFront:
    """Shows a run in a kernel's cell. All calls come on the main thread."""

    def __init__(
        self, shell: InteractiveShell, *, quiet: bool = False, widgets: bool = True, dashboard: bool = True
    ) -> None:
        self.shell, self.quiet, self.widgets = shell, quiet, widgets
        self.status_id: str | None = None
        self.live: Live | None = None
        self.kept: dict[str, Any] | None = None
        """What stays of the run: its last line, and the picture of its GPUs."""
        self._has_dashboard = dashboard and widgets and not quiet
        self._journal = Journal()
        self._pages = Pages(shell)
        self._captures = Captures()
        self._clear_next = False
        """The cell has asked to clear its output when something new comes."""
        self._held: list[Event] | None = None
        """What came after the cell had failed: a native kernel shows the error before that."""
        self._unsaid: list[str] = []
        """Lines of ours that came while a widget captured the cell's output."""
        self._ranks: RankOutput | None = None
        self._ranks_id = uuid.uuid4().hex
        self._publishers: dict[str, Callable[[dict[str, Any]], None]] = {
            "stream": self._stream,
            "display_data": self._display,
            "update_display_data": self._update,
            "execute_result": self._result,
            "error": self._error,
            "clear_output": self._clear,
            "comm_open": partial(self._comm, "comm_open"),
            "comm_msg": partial(self._comm, "comm_msg"),
            "comm_close": partial(self._comm, "comm_close"),
            "rank": self._rank,
        }

    def begin(self, about: About, press: Callable[[], None]) -> None:
        """A run begins: its dashboard comes when it takes longer."""
        self.live = Live(about, press, Origin.of(self.shell))

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

    def event(self, event: Event) -> None:
        """Publish what the cell put out, as if it had run here."""
        if event.kind == "failed":
            self._hold()
        elif self._held is not None:
            self._held.append(event)
        else:
            self._put(event)

    def _put(self, event: Event) -> None:
        self._let_pages_in()
        shown = event.kind in SHOWN and not self._captures
        if shown and self._clear_next and event.kind in NEW:
            self._clear_around_dashboard(wait=True)
        self._publishers[event.kind](event.content)
        if shown:
            self._journal.add(Act(event.kind, event.content))

    def _hold(self) -> None:
        """Keep what comes from now on until IPython has shown the cell's error."""
        if self._clear_next:
            self._clear_around_dashboard(wait=True)
        self._held = []
        self.shell.events.register("post_execute", self._release)

    def _release(self) -> None:
        held, self._held = self._held or (), None
        self.shell.events.unregister("post_execute", self._release)
        for event in held:
            self._put(event)

    def sample(self, reading: Reading) -> None:
        """A reading of the GPUs, for the dashboard."""
        if self.live is not None:
            self.live.sample(reading)

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

    def ask(self, prompt: str, *, password: bool) -> str:
        """Ask where the notebook asks."""
        import getpass

        if self._held is not None:  # a debugger after the cell's error (`%pdb on`)
            self._release()
        return getpass.getpass(prompt) if password else input(prompt)

    def finished(self, receipt: Receipt) -> None:
        """The receipt takes the status line's place."""
        self._finish_ranks()
        self._end(receipt_text(receipt), heading(receipt))

    def settled(self, text: str) -> None:
        """The last line takes the status line's place."""
        self._end(text)

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

    def again(self) -> None:
        """Show in the present cell what the run's cell showed."""
        if self.kept is not None:
            self._publish(self.kept, {MARK: {"kind": "receipt"}})
        acts = self._journal.acts
        if acts is None:
            words = f"Its output was {size_text(self._journal.size)}: too much to keep."
            self._publish({"text/plain": words}, {MARK: {"kind": "note"}})
        for act in acts or ():
            self._publishers[act.kind](act.content)

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

    def _clear_around_dashboard(self, *, wait: bool) -> None:
        """Take back the cell's output; the dashboard stays."""
        self._clear_next = False
        self._journal.clear()
        self._clear_all(wait=wait or self._is_open)
        if self.live is not None and self._is_open:
            bundle, metadata = self.live.bundle
            self._status(bundle, "dashboard", metadata)

    def _clear_all(self, *, wait: bool) -> None:
        self._flush()
        self.status_id = None  # it is cleared with the rest, and needs a place of its own
        self._clear_output(wait=wait)

    def _clear_output(self, *, wait: bool) -> None:
        publisher: Any = self.shell.display_pub
        publisher.clear_output(wait=wait)
        self._tell(Act("clear_output", {"wait": wait}))

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

    def _publish(
        self,
        bundle: dict[str, Any],
        metadata: dict[str, Any],
        transient: dict[str, Any] | None = None,
        *,
        update: bool = False,
    ) -> None:
        transient = transient or {}
        self.shell.display_pub.publish(bundle, metadata, transient=transient, update=update)
        kind = "update_display_data" if update else "display_data"
        self._tell(Act(kind, {"data": bundle, "metadata": metadata, "transient": transient}))

    def _tell(self, act: Act) -> None:
        """A page that was loaded anew hears of it; of what a widget captured the widget tells."""
        if not self._captures:
            self._pages.tell(act)

    @staticmethod
    def _flush() -> None:
        sys.stdout.flush()
        sys.stderr.flush()

    def _stream(self, content: dict[str, Any]) -> None:
        stream = sys.stdout if content["name"] == "stdout" else sys.stderr
        other = sys.stderr if content["name"] == "stdout" else sys.stdout
        other.flush()
        stream.write(content["text"])
        stream.flush()  # ipykernel's own stream waits up to 200 ms otherwise
        self._tell(Act("stream", content))

    def _display(self, content: dict[str, Any]) -> None:
        self._flush()
        self._publish(content["data"], content["metadata"], content.get("transient"))

    def _update(self, content: dict[str, Any]) -> None:
        self._flush()
        self._publish(content["data"], content["metadata"], content.get("transient"), update=True)

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

    def _rank(self, content: dict[str, Any]) -> None:
        """Of a rank that is not the first: in tabs where somebody can look at them, else as lines with their rank."""
        if self._ranks is None:
            tabs = self.widgets and importlib.util.find_spec("ipywidgets") is not None
            self._ranks = Tabs(self._show_ranks) if tabs else Prefixed(self._write)
        self._ranks.take(content["rank"], content["event"], content["content"])

    def _show_ranks(self, bundle: dict[str, Any], *, update: bool) -> None:
        self._flush()
        self._publish(bundle, {MARK: {"kind": "ranks"}}, {"display_id": self._ranks_id}, update=update)

    def _write(self, text: str) -> None:
        line = Act("stream", {"name": "stdout", "text": text})
        self._stream(line.content)
        self._journal.add(line)

    def _finish_ranks(self) -> None:
        if self._ranks is not None:
            self._ranks.finish()

    def _error(self, content: dict[str, Any]) -> None:
        """An error shown in passing, as `%run bad.py` does: the cell goes on."""
        self._flush()
        hook: Any = self.shell.displayhook
        hook.session.send(hook.pub_socket, "error", content, parent=hook.parent_header, ident=hook.topic)
        self._tell(Act("error", content))

    def _clear(self, content: dict[str, Any]) -> None:
        """Take back the cell's output, now or when something new comes, which no line of ours is."""
        if self._captures:
            self._flush()
            self._clear_output(wait=content["wait"])
        elif content["wait"]:
            self._clear_next = True
        else:
            self._clear_around_dashboard(wait=False)

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


def cell_number(shell: InteractiveShell) -> int:
    """The number of the cell that is running. IPython 9 counts on before it runs a cell, older ones after."""
    hook: Any = shell.displayhook
    return int(hook.prompt_count)
