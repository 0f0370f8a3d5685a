"""Base of all fronts: publish a cell's events in order, and mark this extension's output in its metadata."""

from __future__ import annotations

import abc
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.session.run.front import BEFORE_CELL
from modal_gpu_magic.session.run.interrupts import callback
from modal_gpu_magic.ui.fronts.card import SEPARATOR, Card, card_bundle
from modal_gpu_magic.ui.fronts.live import Live
from modal_gpu_magic.ui.fronts.moments import zone_named
from modal_gpu_magic.ui.fronts.ranks import Prefixed
from modal_gpu_magic.ui.fronts.receipt import Container, container_after, receipt_card
from modal_gpu_magic.ui.widgets.journal import Act, Journal
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.ui.widgets.reader import READER
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.front import About, State
    from modal_gpu_magic.session.run.receipt import Receipt
    from modal_gpu_magic.ui.fronts.picture import Chart
    from modal_gpu_magic.ui.fronts.ranks import RankOutput
    from modal_gpu_magic.wire.messages.events import Event

QUIET_SECONDS = 1.0
"""Run time before a status line is shown; a shorter cell shows only its receipt."""
OUTPUT_KINDS = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error"})
"""Kinds of events that change the cell's output."""
APPENDING_KINDS = OUTPUT_KINDS - {"update_display_data"}
"""Kinds of events that append output, which makes a pending `clear_output(wait=True)` due."""
MARK = "modal_gpu"
"""Metadata key that marks outputs of this extension."""


class ShellFront(abc.ABC):
    """Shows a run in an IPython shell. All methods are called on the main thread.

    Attributes:
        shell: the shell in which the cell runs.
        quiet: hide status and receipt.
        live: state of the run and its dashboard.
        container: what became of the run's container.
    """

    def __init__(self, shell: InteractiveShell, *, quiet: bool = False) -> None:
        self.shell, self.quiet = shell, quiet
        self.records = True
        """Whether the notebook is to have the name of a detached session and of its run."""
        self._recorded: dict[str, str] = {}
        self.live: Live | None = None
        self.container = Container("ended")
        self.zone = ""
        """The reader's time zone when the receipt was made."""
        self._receipt: Receipt | None = None
        self._card: Card | None = None
        self._journal = Journal()
        self._clear_next = False
        """The cell called `clear_output(wait=True)` and has put out nothing since."""
        self._held: list[Event] | None = None
        """Events after the cell's error. A native kernel shows the error first."""
        self._waits_for_error = False
        """The card is to be shown below the cell's error."""
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
        """Start a run; its dashboard opens if the run takes longer."""
        self.live = self._new_live(about, press)
        if about.session and self.records:
            self._recorded = {"session": about.session, **({"run": about.run} if about.run else {})}

    def _new_live(self, about: About, press: Callable[[], None]) -> Live:
        return Live(about, press, Origin.of(self.shell))

    def _mark(self, kind: str) -> dict[str, dict[str, str]]:
        """Return the metadata of an output of this extension, with the detached session and its run."""
        return {MARK: {"kind": kind, **self._recorded}}

    @abc.abstractmethod
    def show(self, state: State) -> None:
        """Show the state of the run, replaced in place."""

    @abc.abstractmethod
    def say(self, text: str) -> None:
        """Show a note beside the cell's output."""

    @abc.abstractmethod
    def broke_off(self, outcome: str, words: str = BEFORE_CELL) -> None:
        """Show that the run ended without a receipt."""

    def event(self, event: Event) -> None:
        """Publish an event of the cell as if the cell had run in the kernel."""
        if event.kind == "failed":
            self._hold()
        elif self._held is not None:
            self._held.append(event)
        else:
            self._put(event)

    def _put(self, event: Event) -> None:
        self._serve_new_pages()
        shown = event.kind in OUTPUT_KINDS and not self._is_captured
        if shown and self._clear_next and event.kind in APPENDING_KINDS:
            self._clear_around_dashboard(wait=True)
        self._publishers[event.kind](event.content)
        if shown:
            self._journal.add(Act(event.kind, event.content))

    def _hold(self) -> None:
        """Hold later events until IPython has shown the cell's error."""
        if self._clear_next:
            self._clear_around_dashboard(wait=True)
        self._held = []
        self.shell.events.register("post_execute", self._release)

    @callback
    def _release(self) -> None:
        held, self._held = self._held or (), None
        self.shell.events.unregister("post_execute", self._release)
        for event in held:
            self._put(event)

    def sample(self, reading: Reading) -> None:
        """Show a reading of the GPUs in the dashboard."""
        if self.live is not None:
            self.live.sample(reading)

    def ask(self, prompt: str, *, password: bool) -> str:
        """Ask the user a question of the cell."""
        import getpass

        if self._held is not None:  # e.g. a debugger after the cell's error (`%pdb on`)
            self._release()
        return getpass.getpass(prompt) if password else input(prompt)

    def finished(self, receipt: Receipt) -> None:
        """Show the receipt below the cell's output; below the error if one follows."""
        self._finish_ranks()
        self._receipt, self.container, self.zone = receipt, container_after(receipt), READER.zone
        self._end(raises=receipt.outcome != "done")

    def settled(self, text: str) -> None:
        """Show the card of a service below the cell's output."""
        self._card = Card("", tuple(text.split(SEPARATOR)))
        self._end(raises=False)

    @property
    def card(self) -> Card | None:
        """The card that ends the run, as of now; None: the run has not ended, or no card was due."""
        if self._receipt is not None:
            return receipt_card(self._receipt, self.container, zone_named(READER.zone))
        return self._card

    @property
    def kept(self) -> dict[str, str] | None:
        """Mime bundle of the card with its charts."""
        card = self.card
        return None if card is None else card_bundle(card, self._charts)

    def update(self, container: Container | None = None) -> None:
        """Show the card again in its place: another time zone, or news of the container. Called from any thread."""
        self.container = container or self.container

    def again(self) -> None:
        """Show the run's output and its card again in the current cell."""
        acts = self._journal.acts
        if acts is None:
            words = f"The output was not kept ({size_text(self._journal.size)}, too large)."
            self._publish({"text/plain": words}, self._mark("note"))
        for act in acts or ():
            self._publishers[act.kind](act.content)
        kept = self.kept
        if kept is not None:
            self._publish(kept, self._mark("receipt"))

    def _end(self, *, raises: bool) -> None:
        """End the display of the run, then show the card. `raises`: an error follows, which IPython shows first."""
        self._end_live(raises=raises)
        if self.quiet:
            return
        self._waits_for_error = raises
        if raises:
            self.shell.events.register("post_execute", self._show_card_once)
        else:
            self._show_card()

    def error_is_shown(self) -> None:
        """Show now what waits until IPython has shown the cell's error: other runs follow in the same cell."""
        if self._held is not None:
            self._release()
        if self._waits_for_error:
            self._show_card_once()

    @callback
    def _show_card_once(self) -> None:
        self._waits_for_error = False
        self.shell.events.unregister("post_execute", self._show_card_once)
        self._show_card()

    @property
    def _charts(self) -> tuple[Chart, ...]:
        """The charts of the card."""
        return ()

    @abc.abstractmethod
    def _end_live(self, *, raises: bool) -> None:
        """Remove the status line or the dashboard."""

    @abc.abstractmethod
    def _show_card(self) -> None:
        """Show the card below all output."""

    @property
    def _is_captured(self) -> bool:
        """Whether a widget captures the cell's output."""
        return False

    def _serve_new_pages(self) -> None:  # noqa: B027 - a front without pages has nothing to do
        """Send the output so far to pages loaded since the last call. Called before each publication."""

    def _forward(self, act: Act) -> None:  # noqa: B027 - likewise
        """Send published output to pages loaded during the run."""

    def _clear_around_dashboard(self, *, wait: bool) -> None:
        """Clear the cell's output."""
        self._clear_next = False
        self._journal.clear()
        self._clear_all(wait=wait)

    def _clear_all(self, *, wait: bool) -> None:
        self._clear_output(wait=wait)

    def _clear_output(self, *, wait: bool) -> None:
        publisher: Any = self.shell.display_pub
        publisher.clear_output(wait=wait)
        self._forward(Act("clear_output", {"wait": wait}))

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
        self._forward(Act(kind, {"data": bundle, "metadata": metadata, "transient": transient}))

    @staticmethod
    def _flush() -> None:
        """Send what was printed before a message of this package. The shell's publisher does so itself."""
        sys.stdout.flush()
        sys.stderr.flush()

    def _stream(self, content: dict[str, Any]) -> None:
        stream = sys.stdout if content["name"] == "stdout" else sys.stderr
        other = sys.stderr if content["name"] == "stdout" else sys.stdout
        other.flush()
        stream.write(content["text"])
        stream.flush()  # ipykernel's own stream waits up to 200 ms without a flush
        self._forward(Act("stream", content))

    def _display(self, content: dict[str, Any]) -> None:
        self._publish(content["data"], content["metadata"], content.get("transient"))

    def _update(self, content: dict[str, Any]) -> None:
        self._publish(content["data"], content["metadata"], content.get("transient"), update=True)

    def _clear(self, content: dict[str, Any]) -> None:
        """Clear the cell's output, now or before the cell's next output. Notes of this extension do not count."""
        if content["wait"]:
            self._clear_next = True
        else:
            self._clear_around_dashboard(wait=False)

    def _rank(self, content: dict[str, Any]) -> None:
        """Show output of a rank other than 0, through `_rank_output`."""
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
        """Show the value of the cell's last expression."""

    @abc.abstractmethod
    def _error(self, content: dict[str, Any]) -> None:
        """Show an error that does not end the cell, e.g. of `%run bad.py`."""

    @abc.abstractmethod
    def _comm(self, kind: str, content: dict[str, Any]) -> None:
        """Forward a message of a widget made in the container."""


def cell_number(shell: InteractiveShell) -> int:
    """Return the running cell's number. IPython 9 increments the counter before running a cell, older ones after."""
    hook: Any = shell.displayhook
    return int(hook.prompt_count)
