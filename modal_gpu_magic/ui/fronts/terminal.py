"""The terminal front: a live table of the GPUs while a cell runs, erased before output; then the receipt as text."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.metrics.memory_text import memory_of
from modal_gpu_magic.plan.machine.quote import UNKNOWN
from modal_gpu_magic.session.run.front import BEFORE_CELL
from modal_gpu_magic.ui.fronts.card import card_text, wrapped
from modal_gpu_magic.ui.fronts.receipt import status_text
from modal_gpu_magic.ui.fronts.shell import QUIET_SECONDS, ShellFront, cell_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from IPython.core.interactiveshell import InteractiveShell
    from rich.console import Group
    from rich.live import Live as Area

    from modal_gpu_magic.metrics.sample import GpuSample
    from modal_gpu_magic.session.run.front import State
    from modal_gpu_magic.wire.messages.events import Event

SIMULATED = " · figures of this machine's CPU and memory, the GPUs are simulated"


class TextFront(ShellFront):
    """Shows a run in a terminal. Writes to stderr, and a live table only if stderr is a terminal."""

    def __init__(self, shell: InteractiveShell, *, quiet: bool = False) -> None:
        super().__init__(shell, quiet=quiet)
        self._area: Area | None = None

    def event(self, event: Event) -> None:
        """Erase the live table, then print."""
        self._wipe()
        super().event(event)

    def say(self, text: str) -> None:
        """Print a note."""
        self._wipe()
        shown = wrapped(text, shutil.get_terminal_size().columns) if sys.stderr.isatty() else text
        print(shown, file=sys.stderr)

    def show(self, state: State) -> None:
        """Show the status and the latest readings, rewritten in place."""
        if self.quiet or state.seconds < QUIET_SECONDS or not sys.stderr.isatty():
            return
        if self._area is None:
            from rich.console import Console
            from rich.live import Live as Area

            console = Console(file=sys.stderr)
            self._area = Area(
                console=console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._area.start()
        self._area.update(gpu_table(status_text(state), self.live.history.latest if self.live else ()), refresh=True)

    def broke_off(self, outcome: str, words: str = BEFORE_CELL) -> None:  # noqa: ARG002 - Front's
        """Erase the live table; the error is shown by IPython."""
        self._wipe()

    def _end_live(self, *, raises: bool) -> None:  # noqa: ARG002 - ShellFront's
        self._wipe()

    def _show_card(self) -> None:
        """Print the facts, broken at the terminal's width."""
        if self.card is not None:
            self._flush()
            print(card_text(self.card, shutil.get_terminal_size().columns), file=sys.stderr)

    def _wipe(self) -> None:
        if self._area is not None:
            self._area.stop()
            self._area = None

    def _result(self, content: dict[str, Any]) -> None:
        self._flush()
        text = content["data"].get("text/plain", "")
        print(f"Out[{cell_number(self.shell)}]: " + ("\n" + text if "\n" in text else text) + "\n")

    def _error(self, content: dict[str, Any]) -> None:
        print("\n".join(content["traceback"]), file=sys.stderr)

    def _comm(self, kind: str, content: dict[str, Any]) -> None:
        """Do nothing: a terminal has no widgets; their text arrives as a separate display event."""


def gpu_table(title: str, samples: Sequence[GpuSample]) -> Group:
    """Return the status above a table with one row per GPU; `–` for unknown values."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    many = len({sample.node for sample in samples}) > 1
    for sample in samples:
        node = f"node {sample.node} " if many else ""
        table.add_row(
            f"{node}GPU {UNKNOWN if sample.index is None else sample.index}",
            f"{_text(sample.utilization)} %",
            memory_of([sample.memory_used_mib], [sample.memory_total_mib]) or UNKNOWN,
            f"{_text(sample.power_w)} W",
            f"{_text(sample.temperature_c)} °C",
        )
    simulated = any(sample.simulated for sample in samples)
    return Group(Text(f"{title}{SIMULATED if simulated else ''}"), *([table] if samples else []))


def _text(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"
