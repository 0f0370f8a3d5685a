"""What all fronts share: a cell's events are published in order; what is ours is marked in its metadata."""

from __future__ import annotations

import abc
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.ui.fronts.live import Live
from modal_gpu_magic.ui.fronts.ranks import Prefixed
from modal_gpu_magic.ui.fronts.receipt import heading, receipt_text
from modal_gpu_magic.ui.widgets.journal import Act, Journal
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.front import About, State
    from modal_gpu_magic.session.run.receipt import Receipt
    from modal_gpu_magic.ui.fronts.ranks import RankOutput
    from modal_gpu_magic.wire.messages.events import Event

QUIET_SECONDS = 1.0
"""A cell that is faster shows no status line, just its receipt."""
SHOWN = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error"})
"""Kinds of events that put something into the cell's output."""
NEW = SHOWN - {"update_display_data"}
"""Those that put it at the end, so that a clear which waits for something new is due."""
MARK = "modal_gpu"
"""Metadata key of every output of ours, as opposed to the cell's."""


class ShellFront(abc.ABC):
    """Shows a run in an IPython shell. All calls come on the main thread.

    Attributes:
        shell: the shell that the cell was run in.
        quiet: no status and no receipt are shown.
        live: the state of the run's dashboard.
        kept: what stays of the run: its last line, and the picture of its GPUs.
    """

    def __init__(self, shell: InteractiveShell, *, quiet: bool = False) -> None:
        self.shell, self.quiet = shell, quiet
        self.live: Live | None = None
        self.kept: dict[str, Any] | None = None
        self._journal = Journal()
        self._clear_next = False
        """The cell has asked to clear its output when something new comes."""
        self._held: list[Event] | None = None
        """What came after the cell had failed: a native kernel shows the error before that."""
        self._ranks: RankOutput | None = None
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

    @abc.abstractmethod
    def show(self, state: State) -> None:
        """The state of the run, replaced in place."""

    @abc.abstractmethod
    def say(self, text: str) -> None:
        """A line of ours, beside the cell's output."""

    @abc.abstractmethod
    def broke_off(self, outcome: str) -> None:
        """The run ended before it could say so."""

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
        shown = event.kind in SHOWN and not self._is_captured
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

    @abc.abstractmethod
    def _end(self, text: str, heading: tuple[str, str] | None = None) -> None:
        """The last line takes the status line's place."""

    @property
    def _is_captured(self) -> bool:
        """Whether a widget captures the cell's output."""
        return False

    def _let_pages_in(self) -> None:  # noqa: B027 - a front without pages has nothing to do
        """Before something is published: a page that was loaded anew may ask for what there is."""

    def _tell(self, act: Act) -> None:  # noqa: B027 - likewise
        """Something was published; a page that was loaded anew is told."""

    def _clear_around_dashboard(self, *, wait: bool) -> None:
        """Take back the cell's output."""
        self._clear_next = False
        self._journal.clear()
        self._clear_all(wait=wait)

    def _clear_all(self, *, wait: bool) -> None:
        self._flush()
        self._clear_output(wait=wait)

    def _clear_output(self, *, wait: bool) -> None:
        publisher: Any = self.shell.display_pub
        publisher.clear_output(wait=wait)
        self._tell(Act("clear_output", {"wait": wait}))

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

    def _clear(self, content: dict[str, Any]) -> None:
        """Take back the cell's output, now or when something new comes, which no line of ours is."""
        if content["wait"]:
            self._clear_next = True
        else:
            self._clear_around_dashboard(wait=False)

    def _rank(self, content: dict[str, Any]) -> None:
        """Of a rank that is not the first: as lines with their rank, or however `_rank_output` shows them."""
        if self._ranks is None:
            self._ranks = self._rank_output()
        self._ranks.take(content["rank"], content["event"], content["content"])

    def _rank_output(self) -> RankOutput:
        return Prefixed(self._write)

    def _write(self, text: str) -> None:
        line = Act("stream", {"name": "stdout", "text": text})
        self._stream(line.content)
        self._journal.add(line)

    def _finish_ranks(self) -> None:
        if self._ranks is not None:
            self._ranks.finish()

    @abc.abstractmethod
    def _result(self, content: dict[str, Any]) -> None:
        """The value of the cell's last expression."""

    @abc.abstractmethod
    def _error(self, content: dict[str, Any]) -> None:
        """An error shown in passing, as `%run bad.py` does: the cell goes on."""

    @abc.abstractmethod
    def _comm(self, kind: str, content: dict[str, Any]) -> None:
        """A message of a widget that was made in the container."""


def cell_number(shell: InteractiveShell) -> int:
    """The number of the cell that is running. IPython 9 counts on before it runs a cell, older ones after."""
    hook: Any = shell.displayhook
    return int(hook.prompt_count)
