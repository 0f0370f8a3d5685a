"""`--dry-run`: print what a cell would send, without sending it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.line.units import write_duration
from modal_gpu_magic.plan.machine.quote import worst_words
from modal_gpu_magic.plan.program import program
from modal_gpu_magic.plan.service.program import service_program
from modal_gpu_magic.sdk.image import local_version
from modal_gpu_magic.session.project.modules import name_of
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.cache import FOLDERS, VOLUME
from modal_gpu_magic.wire.messages.place_names import place_in, shown_place

if TYPE_CHECKING:
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.service.facade import Service
    from modal_gpu_magic.session.values.sync import Outgoing

MAX_NAMED_FILES = 20
"""Most files that are listed by name."""


def show(session: Session, cell: Cell) -> None:
    """Print the equivalent Modal program and a summary of each value.

    Raises:
        TransferError: a value that the cell reads cannot be sent.
    """
    names = cell.names
    outgoing = session.values.outgoing(names, cell.transfer_options)
    reads, binds = _variables(outgoing), sorted(names.binds)
    print(program(session.machine, cell.source, reads, binds, cell.timeout, cell.packages, local_version))
    if cell.distributed is not None and cell.distributed.torchrun:
        processes = cell.distributed.processes or "one per GPU"
        print(f"# torchrun runs the cell's body in new processes in each container: {processes}")
    print(f"# costs {session.machine.price_text} at Modal while its container exists, {rates.current().words}")
    if cell.budget:
        print(f"# stops after {write_duration(int(cell.limit or 0))} at the latest, by {cell.budget}")
    if session.machine.detach:
        machine, timeout = session.machine, cell.timeout or FUNCTION_TIMEOUT
        print(f"# keeps running without this notebook: {worst_words(machine.per_hour, timeout, machine.scaledown)}")
    _show_values(session, cell, outgoing)


def show_service(service: Service, session: Session, cell: Cell) -> None:
    """Print the equivalent Modal class and a summary of each value.

    Args:
        service: the service.
        session: has the service's machine and the notebook's modules.
        cell: the service's cell.

    Raises:
        TransferError: a value that the cell reads cannot be sent.
    """
    outgoing = service.outgoing()
    reads, binds = _variables(outgoing), sorted(cell.names.binds)
    machine, serving = service.machine, service.serving
    print(service_program(machine, serving, service.name, cell.source, reads, binds, cell.packages, local_version))
    print(f"# costs {machine.price_text} at Modal for each container, {rates.current().words}")
    _show_values(session, cell, outgoing)


def _variables(outgoing: Outgoing) -> list[str]:
    """Return the variables of the notebook that are sent, without those of its modules."""
    return sorted(name for name in outgoing.values if place_in(name) is None)


def _show_values(session: Session, cell: Cell, outgoing: Outgoing) -> None:
    if len(session.machine.mounts) > len(session.machine.volumes):
        print(f"# mounts the Volume {VOLUME}, as the cache of {' and '.join(FOLDERS)}")
    for name in sorted(outgoing.values):
        print(f"# sends {shown_place(name)}: {summary(outgoing.values[name])}")
    found = session.modules.find(cell.names.imports, cell.transfer_options.exclude)
    for path in found.files:
        print(f"# sends the notebook's module {name_of(path, found.entries)}")
    for place in cell.files.files[:MAX_NAMED_FILES]:
        print(f"# sends the file {os.path.relpath(session.files.project.path(place))}")
    if len(cell.files.files) > MAX_NAMED_FILES:
        print(f"# sends {len(cell.files.files) - MAX_NAMED_FILES:,} more files")
    for note in cell.files.notes:
        print(f"# {note}")
    for name, why in outgoing.withheld.items():
        print(f"# keeps {name} in the kernel: {why}")
