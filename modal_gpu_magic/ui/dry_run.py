"""`--dry-run`: shows what would be sent, and sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.plan.program import program
from modal_gpu_magic.wire.summary import summary

if TYPE_CHECKING:
    from modal_gpu_magic.session.session import Cell, Session


def show(session: Session, cell: Cell) -> None:
    """Print the equivalent Modal program and what each value is.

    Raises:
        TransferError: a value that the cell reads cannot travel; the dry run says so as the run would.
    """
    names = cell.names
    if names is None:
        return
    outgoing = session.values.outgoing(names, cell.wishes)
    reads = sorted(outgoing.values)
    print(program(session.machine, cell.source, reads, sorted(names.binds), cell.timeout, cell.packages))
    if cell.spread is not None and cell.spread.torchrun:
        processes = cell.spread.processes or "as many as there are GPUs"
        print(f"# torchrun runs the body of cell in fresh processes on each container: {processes}")
    for name in reads:
        print(f"# sends {name}: {summary(outgoing.values[name])}")
    for name, why in outgoing.held.items():
        print(f"# keeps {name} here: {why}")
