"""One cell, as a session runs it."""

from __future__ import annotations

from dataclasses import dataclass, field

from modal_gpu_magic.line.parse import Line
from modal_gpu_magic.plan.cell.facts import CellFacts
from modal_gpu_magic.plan.cell.names import Names
from modal_gpu_magic.session.project.sent_files import FoundFiles
from modal_gpu_magic.session.values.sync import TransferOptions
from modal_gpu_magic.wire.messages.events import DistributedOptions, Kernel


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell to run: its source, what the header says of this run, and what the notebook knows.

    Attributes:
        source: the body, padded so that line numbers are the notebook's.
        line: its header, for advice to name a better one; None: it has none.
        facts: what its text says; None: not read yet.
        count: the notebook's execution count. stdin: whether somebody can answer `input()`.
        timeout: seconds; None: as long as Modal lets a Function run.
        fetch_bytes: how much may come back; fetch_names: names that come back whatever their size.
        clean: start with an empty namespace. move: carry the values over to a new machine.
        files: files of the project that travel with it.
        imports: modules of the cell with the requirement that brings each.
        packages: requirements of the image beside the header's, if this cell opens the session.
        distributed: run in ranks; None: in the session's own process, or once on each node of a cluster.
        kernel: what the cell can see of the notebook's kernel.
    """

    source: str
    count: int = 1
    line: Line | None = None
    facts: CellFacts | None = None
    transfer_options: TransferOptions = field(default_factory=TransferOptions)
    timeout: float | None = 3600.0
    fetch_bytes: int = 256 << 20
    fetch_names: tuple[str, ...] = ()
    clean: bool = False
    stdin: bool = False
    files: FoundFiles = field(default_factory=FoundFiles)
    imports: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    distributed: DistributedOptions | None = None
    kernel: Kernel = field(default_factory=Kernel)

    @property
    def names(self) -> Names:
        """What the cell does with names; no names if the text was not read yet."""
        return self.facts.names if self.facts else Names()
