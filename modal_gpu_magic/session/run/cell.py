"""The description of one cell that a session runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from modal_gpu_magic.line.parse import Line
from modal_gpu_magic.plan.cell.facts import CellFacts
from modal_gpu_magic.plan.cell.names import Names
from modal_gpu_magic.session.project.sent_files import FoundFiles
from modal_gpu_magic.session.values.sync import TransferOptions
from modal_gpu_magic.wire.messages.events import DistributedOptions, Kernel, Spending


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell to run: its source, the options of its header, and facts from the notebook.

    Attributes:
        source: the body, padded so that line numbers match the notebook's cell.
        count: the notebook's execution count.
        line: the parsed header, used to suggest a better one; None: the cell has no header.
        facts: what the source says; None: the session reads the source.
        transfer_options: which variables are sent.
        timeout: limit of the run, seconds; None: Modal's limit for a Function.
        spending: the run's budget; None: no budget is set.
        fetch_bytes: size limit of the returned values, bytes.
        fetch_names: names that are returned whatever their size.
        clean: start with an empty namespace.
        stdin: whether the front end can answer `input()`.
        background: the name of the handle if the cell runs in the background; empty: the notebook waits for the cell.
        files: files of the project to send with the cell.
        imports: the requirement that provides each imported module, by module.
        packages: requirements added to the image if this cell opens the session.
        distributed: how to run the cell in ranks; None: in the session's process, or once on each node of a cluster.
        kernel: facts of the notebook's kernel that the cell can read.
    """

    source: str
    count: int = 1
    line: Line | None = None
    facts: CellFacts | None = None
    transfer_options: TransferOptions = field(default_factory=TransferOptions)
    timeout: float | None = 3600.0
    spending: Spending | None = None
    fetch_bytes: int = 256 << 20
    fetch_names: tuple[str, ...] = ()
    clean: bool = False
    stdin: bool = False
    background: str = ""
    files: FoundFiles = field(default_factory=FoundFiles)
    imports: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    distributed: DistributedOptions | None = None
    kernel: Kernel = field(default_factory=Kernel)

    @property
    def limit(self) -> float | None:
        """The seconds that the run may take: the timeout, or less if a budget buys less; None: no limit."""
        if self.spending is None:
            return self.timeout
        return self.spending.seconds if self.timeout is None else min(self.timeout, self.spending.seconds)

    @property
    def budget(self) -> str:
        """The words of the budget that gives the limit; empty: the timeout does."""
        return self.spending.words if self.spending and self.spending.seconds == self.limit else ""

    @property
    def names(self) -> Names:
        """What the cell does with names; no names if the text was not read yet."""
        return self.facts.names if self.facts else Names()
