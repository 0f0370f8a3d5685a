"""The fronts of background cells: their output goes below the cell that started them, whatever the notebook runs.

A notebook shows a message below the cell whose request is the message's parent, also after that cell has ended:
JupyterLab keeps the futures of a cell's request until the cell runs again.
"""

from __future__ import annotations

import copy
import sys
import threading
import uuid
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.session.run.front import BEFORE_CELL
from modal_gpu_magic.session.run.interrupts import callback
from modal_gpu_magic.ui.fronts.asking import can_ask
from modal_gpu_magic.ui.fronts.live import Live
from modal_gpu_magic.ui.fronts.notebook import NotebookFront
from modal_gpu_magic.ui.fronts.pages import Pages
from modal_gpu_magic.ui.fronts.ranks import EMPTY, page, prefixed, settled, text_of
from modal_gpu_magic.ui.fronts.receipt import status_words
from modal_gpu_magic.ui.fronts.shell import MARK, cell_number
from modal_gpu_magic.ui.fronts.terminal import TextFront
from modal_gpu_magic.ui.widgets.journal import Act
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.wire.values.own_code import words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.session.run.background import BackgroundRun
    from modal_gpu_magic.session.run.front import About, State
    from modal_gpu_magic.session.run.receipt import Receipt
    from modal_gpu_magic.ui.fronts.receipt import Container
    from modal_gpu_magic.wire.messages.events import Event


RETURN_SECONDS = 0.3
"""Seconds after the end of a cell until a program that runs notebooks records nothing more of the cell."""
RECORD: dict[str, Any] = {MARK: {"kind": "background"}}
"""Metadata of the display with the whole output of a background cell."""


class CellArea:
    """Publishes messages below one cell of a notebook, from any thread."""

    def __init__(self, shell: InteractiveShell) -> None:
        hook: Any = shell.displayhook
        self._kernel: Any = shell.kernel  # type: ignore[attr-defined]  # attribute of ipykernel's shell
        self._parent = copy.deepcopy(hook.parent_header)

    def send(
        self, kind: str, content: dict[str, Any], metadata: dict[str, Any] | None = None, buffers: Any = None
    ) -> None:
        """Publish a message."""
        self._kernel.session.send(
            self._kernel.iopub_socket,
            kind,
            content,
            metadata=metadata,
            parent=self._parent,
            ident=self._kernel.topic(kind) if hasattr(self._kernel, "topic") else None,
            buffers=buffers,
        )

    def display(
        self,
        bundle: dict[str, Any],
        metadata: dict[str, Any],
        transient: dict[str, Any] | None = None,
        *,
        update: bool = False,
    ) -> None:
        """Publish a display, or replace one."""
        kind = "update_display_data" if update else "display_data"
        self.send(kind, {"data": bundle, "metadata": metadata, "transient": transient or {}})


class RecordedArea(CellArea):
    """The area of a cell where perhaps nobody looks on: a display of the cell has its output, too.

    nbclient and papermill record the messages of the cell that they run, and updates of displays of earlier cells.
    The messages themselves begin when the cell has returned: these programs would record some and miss the others.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        self._transient = {"display_id": uuid.uuid4().hex}
        self._acts: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._held: list[Callable[[], None]] | None = []
        super().send("display_data", {"data": EMPTY, "metadata": RECORD, "transient": self._transient})
        shell.events.register("post_run_cell", self._returned)

    def send(
        self, kind: str, content: dict[str, Any], metadata: dict[str, Any] | None = None, buffers: Any = None
    ) -> None:
        """Record a message and publish it."""
        self._record(kind, content)
        publish = partial(super().send, kind, content, metadata, buffers)
        with self._lock:
            if self._held is not None:
                self._held.append(publish)
                return
        publish()

    @callback
    def _returned(self, _: object) -> None:
        """Publish messages soon: the cell that started the run has returned."""
        self._shell.events.unregister("post_run_cell", self._returned)
        timer = threading.Timer(RETURN_SECONDS, self._publish_held)
        timer.daemon = True
        timer.start()

    def _publish_held(self) -> None:
        with self._lock:
            held, self._held = self._held or [], None
            for publish in held:
                publish()

    def _record(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "clear_output":
            self._acts.clear()
        elif kind == "update_display_data":
            shown = content["transient"].get("display_id")
            for index, (_, other) in enumerate(self._acts):
                if shown is not None and other.get("transient", {}).get("display_id") == shown:
                    self._acts[index] = ("display_data", content)
        elif not kind.startswith("comm"):
            self._acts.append((kind, content))

    def publish(self) -> None:
        """Update the display, on the main thread while a cell runs."""
        publisher: Any = self._shell.display_pub
        publisher.publish(recorded_bundle(list(self._acts)), RECORD, transient=self._transient, update=True)


def recorded_bundle(acts: list[tuple[str, dict[str, Any]]]) -> dict[str, str]:
    """Return the output of a cell as one mime bundle; consecutive printed text is joined."""
    parts: list[tuple[str, str]] = []
    for kind, content in acts:
        text, data = text_of(kind, content), content.get("data", {})
        if kind == "stream" and parts and not parts[-1][1]:
            parts[-1] = (parts[-1][0] + text, "")
        else:
            parts.append((text, html_of(data)))
    blocks = (shown or (page(text) if text.strip() else "") for text, shown in parts)
    return {"text/plain": "\n".join(settled("".join(text for text, _ in parts))), "text/html": "".join(blocks)}


def html_of(data: dict[str, Any]) -> str:
    """Return the HTML of a display: its own, or its picture; empty: it has only text."""
    if "text/html" in data:
        return str(data["text/html"])
    picture = next((kind for kind in ("image/png", "image/jpeg") if kind in data), None)
    return f'<img src="data:{picture};base64,{"".join(data[picture].split())}">' if picture else ""


class HandleView:
    """Shows the handle of a background cell in the cell that displays it, updated until the run has ended."""

    def __init__(self, shell: InteractiveShell, run: BackgroundRun) -> None:
        self._run, self._area = run, CellArea(shell)
        self._transient = {"display_id": uuid.uuid4().hex}
        self._shown = run.text
        self._area.display({"text/plain": self._shown}, {}, self._transient)
        if not run.is_over.is_set():
            run.watch(self._update)

    def _update(self) -> None:
        text = self._run.text
        if text != self._shown:
            self._shown = text
            self._area.display({"text/plain": text}, {}, self._transient, update=True)


class BackgroundNotebook(NotebookFront):
    """Shows a background cell in its notebook. Until the cell has ended, a thread calls; then the main thread."""

    def __init__(
        self,
        shell: InteractiveShell,
        run: BackgroundRun,
        *,
        quiet: bool = False,
        widgets: bool = True,
        dashboard: bool = True,
        notify_after: float | None = None,
    ) -> None:
        super().__init__(shell, quiet=quiet, widgets=widgets, dashboard=dashboard, notify_after=notify_after)
        self._name = run.name
        self._run, self._area = run, self._area_of(shell, run)
        run.show = partial(HandleView, shell)
        self._origin, self._count = Origin.of(shell), cell_number(shell)
        self._pages = self._followers = PagesBeside(shell, self._count)

    def _new_live(self, about: About, press: Callable[[], None]) -> Live:
        return Live(about, press, self._origin, background=True, notify_after=self._notify_after)

    def _area_of(self, shell: InteractiveShell, run: BackgroundRun) -> CellArea:
        if self.widgets:
            return CellArea(shell)
        area = RecordedArea(shell)
        run.print_output = area.publish
        return area

    def begin(self, about: About, press: Callable[[], None]) -> None:
        """Start the run."""
        self._run.is_free = about.backend == "local"
        super().begin(about, press)

    def wait(self) -> None:
        """Show what the queued cell waits for, until it begins."""
        run, said = self._run, [""]

        def show_wait() -> None:
            text = f"{run.text}."
            if run.doing == "queued" and text != said[0]:
                said[0] = text
                self._status({"text/plain": text}, "status")

        run.watch(show_wait)
        show_wait()

    def show(self, state: State) -> None:
        """Show the state in the area and in the handle."""
        self._run.takes(status_words(state), state.cost)
        super().show(state)

    def event(self, event: Event) -> None:
        """Publish an event below the cell."""
        take_log(self._run, event)
        super().event(event)

    def finished(self, receipt: Receipt) -> None:
        """Show the receipt; below the error if one follows."""
        self._run.receipt = receipt
        super().finished(receipt)

    def failed(self, error: BaseException) -> None:
        """Show the error that ended the run, then what the cell put out after it, then the receipt."""
        self._error(error_content(self.shell, error))
        self._show_end()

    def update(self, container: Container | None = None) -> None:
        """Show the card again in its place."""
        self.container = container or self.container
        kept = self.kept
        if self._card_id is not None and kept is not None:
            transient = {"display_id": self._card_id}
            self._area.display(kept, self._mark("receipt"), transient, update=True)

    def again(self) -> None:
        """Show the run's output and its card again in the current cell."""
        area, self._area = self._area, CellArea(self.shell)
        try:
            super().again()
        finally:
            self._area = area

    def _end(self, *, raises: bool) -> None:
        self._end_live(raises=raises)
        if not raises:
            self._show_end()

    def _show_end(self) -> None:
        held, self._held = self._held or (), None
        for event in held:
            self._put(event)
        if not self.quiet:
            self._show_card()
        self._followers.close()

    def _hold(self) -> None:
        if self._clear_next:
            self._clear_around_dashboard(wait=True)
        self._held = []

    def _clear_output(self, *, wait: bool) -> None:
        self._area.send("clear_output", {"wait": wait})
        self._forward(Act("clear_output", {"wait": wait}))

    def _publish(
        self,
        bundle: dict[str, Any],
        metadata: dict[str, Any],
        transient: dict[str, Any] | None = None,
        *,
        update: bool = False,
    ) -> None:
        self._area.display(bundle, metadata, transient, update=update)
        kind = "update_display_data" if update else "display_data"
        self._forward(Act(kind, {"data": bundle, "metadata": metadata, "transient": transient or {}}))

    @staticmethod
    def _flush() -> None:
        """Do nothing: no stream of the kernel is written to."""

    def _stream(self, content: dict[str, Any]) -> None:
        self._area.send("stream", content)
        self._forward(Act("stream", content))

    def _result(self, content: dict[str, Any]) -> None:
        message = {"data": content["data"], "metadata": content["metadata"], "execution_count": self._count}
        self._area.send("execute_result", message)
        self._forward(Act("execute_result", message))

    def _error(self, content: dict[str, Any]) -> None:
        self._area.send("error", content)
        self._forward(Act("error", content))

    def _comm(self, kind: str, content: dict[str, Any]) -> None:
        self._area.send(kind, content["content"], content["metadata"], content["buffers"] or None)
        self._captures.take(content["content"])
        if not self._captures:
            self._show_deferred_notes()


class PagesBeside(Pages):
    """Pages that follow a background cell: its error and its receipt are published by its front, not by IPython."""

    def __init__(self, shell: InteractiveShell, count: int) -> None:
        super().__init__(shell)
        self._count = count
        self._close: Callable[[], None] | None = None

    def end(self, close: Callable[[], None]) -> None:
        """End the run; `close` is called after the last message."""
        self._close = close

    def close(self) -> None:
        """Send the last message to the pages."""
        close, self._close = self._close, None
        if close is not None:
            self.tell(Act("done", {"execution_count": self._count}))
            self._dashboard = None
            close()


class BackgroundText(TextFront):
    """Shows a background cell in a terminal: holds its output until the notebook asks for it, or the cell has ended."""

    def __init__(self, shell: InteractiveShell, run: BackgroundRun, *, quiet: bool = False) -> None:
        super().__init__(shell, quiet=quiet)
        self._run, self._count = run, cell_number(shell)
        self._waiting: deque[Callable[[], None]] = deque()
        run.print_output = self.print_output

    def print_output(self) -> None:
        """Print what the cell has shown since the last call, below a line with its name. On the main thread."""
        if self._waiting:
            print(f"[{self._run.name}]", flush=True)
        while self._waiting:
            self._waiting.popleft()()

    def begin(self, about: About, press: Callable[[], None]) -> None:
        """Start the run."""
        self._run.is_free = about.backend == "local"
        super().begin(about, press)

    def show(self, state: State) -> None:
        """Show the state in the handle."""
        self._run.takes(status_words(state), state.cost)

    def event(self, event: Event) -> None:
        """Hold an event."""
        take_log(self._run, event)
        self._waiting.append(partial(super().event, event))

    def say(self, text: str) -> None:
        """Hold a note."""
        self._waiting.append(partial(super().say, text))

    def broke_off(self, outcome: str, words: str = BEFORE_CELL) -> None:
        """Do nothing: the error follows."""

    def finished(self, receipt: Receipt) -> None:
        """Hold the receipt; below the error if one follows."""
        self._run.receipt = receipt
        super().finished(receipt)

    def failed(self, error: BaseException) -> None:
        """Hold the error that ended the run, then the receipt."""
        lines = error_content(self.shell, error)["traceback"]
        self._waiting.append(lambda: print("\n".join(lines), file=sys.stderr))
        self._waiting.append(self._show_end)

    def _end(self, *, raises: bool) -> None:
        if not raises:
            self._waiting.append(self._show_end)

    def _show_end(self) -> None:
        held, self._held = self._held or (), None
        for event in held:
            self._put(event)
        if not self.quiet:
            self._show_card()

    def _hold(self) -> None:
        self._held = []

    def _result(self, content: dict[str, Any]) -> None:
        self._flush()
        text = content["data"].get("text/plain", "")
        print(f"Out[{self._count}]: " + ("\n" + text if "\n" in text else text) + "\n")


def background_front(
    shell: InteractiveShell, run: BackgroundRun, *, quiet: bool, dashboard: bool, notify_after: float | None
) -> BackgroundNotebook | BackgroundText:
    """Return a front for a background cell, which the running cell starts."""
    if getattr(shell, "kernel", None) is None:
        return BackgroundText(shell, run, quiet=quiet)
    return BackgroundNotebook(
        shell, run, quiet=quiet, widgets=can_ask(shell), dashboard=dashboard, notify_after=notify_after
    )


def take_log(run: BackgroundRun, event: Event) -> None:
    """Add an event of the cell to what `logs()` returns."""
    if event.kind == "clear_output":
        run.clears()
    elif event.kind == "rank":
        text = text_of(event.content["event"], event.content["content"])
        run.logs("".join(f"{line}\n" for line in prefixed(event.content["rank"], text.splitlines())))
    else:
        run.logs(text_of(event.kind, event.content))


def error_content(shell: InteractiveShell, error: BaseException) -> dict[str, Any]:
    """Return the content of the message that shows an error as IPython shows it."""
    render = getattr(error, "_render_traceback_", None)
    if render is not None:
        lines = render()
    else:
        maker: Any = shell.InteractiveTB
        lines = maker.structured_traceback(type(error), error, error.__traceback__)
    return {"ename": type(error).__name__, "evalue": words_of(error), "traceback": list(lines)}
