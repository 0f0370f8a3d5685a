"""`--dry-run`: shows what would be sent, and sends nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.program import program
from modal_gpu_magic.plan.service.program import service_program
from modal_gpu_magic.sdk.image import local_version
from modal_gpu_magic.session.project.modules import name_of
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.cache import FOLDERS, VOLUME

if TYPE_CHECKING:
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.service.facade import Service
    from modal_gpu_magic.session.values.sync import Outgoing

MOST_FILES = 20
"""How many files are named."""


def show(session: Session, cell: Cell) -> None:
    """Print the equivalent Modal program and what each value is.

    Raises:
        TransferError: a value that the cell reads cannot travel; the dry run says so as the run would.
    """
    names = cell.names
    if names is None:
        return
    outgoing = session.values.outgoing(names, cell.wishes)
    reads, binds = sorted(outgoing.values), sorted(names.binds)
    print(program(session.machine, cell.source, reads, binds, cell.timeout, cell.packages, local_version))
    if cell.spread is not None and cell.spread.torchrun:
        processes = cell.spread.processes or "as many as there are GPUs"
        print(f"# torchrun runs the body of cell in fresh processes on each container: {processes}")
    _show_values(session, cell, outgoing)


def show_service(service: Service, session: Session, cell: Cell) -> None:
    """Print the equivalent Modal class and what each value is. `session` has the machine and the notebook's modules.

    Raises:
        TransferError: a value that is read cannot travel.
    """
    outgoing = service.outgoing()
    reads, binds = sorted(outgoing.values), sorted(cell.names.binds if cell.names else ())
    machine, serving = service.machine, service.serving
    print(service_program(machine, serving, service.name, cell.source, reads, binds, cell.packages, local_version))
    _show_values(session, cell, outgoing)


def _show_values(session: Session, cell: Cell, outgoing: Outgoing) -> None:
    if len(session.machine.mounts) > len(session.machine.volumes):
        print(f"# mounts the Volume {VOLUME}, a cache for {' and '.join(FOLDERS)}")
    for name in sorted(outgoing.values):
        print(f"# sends {name}: {summary(outgoing.values[name])}")
    found = session.modules.find(cell.names.imports if cell.names else (), cell.wishes.exclude)
    for path in found.files:
        print(f"# sends the notebook's own {name_of(path, found.entries)}")
    for place in cell.files.files[:MOST_FILES]:
        print(f"# sends the file {os.path.relpath(session.files.project.path(place))}")
    if len(cell.files.files) > MOST_FILES:
        print(f"# sends {len(cell.files.files) - MOST_FILES:,} more files")
    for note in cell.files.notes:
        print(f"# {note}")
    for name, why in outgoing.held.items():
        print(f"# keeps {name} here: {why}")
