"""`%%modal_gpu L40S --service embed`: make a service from a cell and bind it to that name in the notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import LineError
from modal_gpu_magic.session.run.remarks import remarks
from modal_gpu_magic.session.service.facade import Service
from modal_gpu_magic.ui.magics.progress import watcher
from modal_gpu_magic.wire.messages.batching import WAIT_MS, Batch

if TYPE_CHECKING:
    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.ui.magics.kernel_state import KernelState


FLAG = "--service"


def make(state: KernelState, line: Line, cell: Cell, session: Session) -> Service:
    """Return the service for a header and its cell, without sending anything.

    Args:
        state: the kernel's state.
        line: the header.
        cell: the cell.
        session: has the machine that the header names.

    Raises:
        LineError: the name is taken by a variable.
        ServiceError: the cell cannot be served.
        SyntaxError: the cell does not parse.
    """
    options, namespace = line.options, state.shell.user_ns
    name = str(options.service)
    _check_name(name, namespace, line)
    wait_ms = WAIT_MS if options.wait_ms is None else options.wait_ms
    service = Service(
        cell.source,
        replace(session.machine, cache=session.machine.cache and state.settings.cache),
        name,
        batch=Batch(options.batch, wait_ms) if options.batch else None,
        min_containers=options.min_containers,
        max_containers=options.max_containers,
        concurrent=options.concurrent,
        timeout=cell.timeout or 0,
        backend=session.backend,
        namespace=namespace,
        hidden=state.shell.user_ns_hidden,
        cell=cell,
        transform=state.shell.transform_cell,
    )
    service.watch = watcher(state.shell)
    service.notebook, service.write = state.notebook, state.write
    return service


def start(state: KernelState, service: Service, front: Front, inbox: Inbox) -> None:
    """Start a service and replace the running one of the same name.

    With GPUs, the running service stops first, because both together would need twice the GPUs. Without GPUs, the
    running service serves until the new one is ready.

    Raises:
        Exception: the error of the start; the name then keeps its previous value.
    """
    for text in remarks(service.machine, service.backend):
        front.say(text)
    former = state.services.get(service.name)
    if former is not None and former.running and service.machine.gpus:
        front.say(f"Stopping the running {service.name} first: two would need twice the GPUs.")
        former.stop()
    service.start(front, inbox)
    if former is not None and former.running:
        former.stop()
        front.say(f"The previous {service.name} has stopped.")
    state.services[service.name] = state.shell.user_ns[service.name] = service


def _check_name(name: str, namespace: dict[str, Any], line: Line) -> None:
    value = namespace.get(name)
    if value is None or isinstance(value, Service):
        return
    start = line.text.find(name, line.text.find(FLAG) + len(FLAG))
    raise LineError(
        f"{name} is already a variable of type {type(value).__name__}; write another name, or `del {name}` first.",
        line.text,
        start,
        start + len(name),
    )
