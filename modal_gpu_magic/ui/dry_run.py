"""`--dry-run`: shows what would be sent, and sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.plan.program import program
from modal_gpu_magic.plan.service_program import service_program
from modal_gpu_magic.wire.summary import summary

if TYPE_CHECKING:
    from modal_gpu_magic.session.service import Service
    from modal_gpu_magic.session.session import Cell, Session
    from modal_gpu_magic.session.values import Outgoing


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
    _show_values(outgoing)


def show_service(service: Service, cell: Cell) -> None:
    """Print the equivalent Modal class and what each value is.

    Raises:
        TransferError: a value that is read cannot travel.
    """
    outgoing = service.outgoing()
    reads = sorted(outgoing.values)
    binds = sorted(cell.names.binds) if cell.names else []
    print(service_program(service.machine, service.serving, service.name, cell.source, reads, binds, cell.packages))
    _show_values(outgoing)


def _show_values(outgoing: Outgoing) -> None:
    for name in sorted(outgoing.values):
        print(f"# sends {name}: {summary(outgoing.values[name])}")
    for name, why in outgoing.held.items():
        print(f"# keeps {name} here: {why}")
