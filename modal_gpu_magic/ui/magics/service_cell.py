"""`%%modal_gpu L40S --service embed`: a cell becomes a service, and the notebook gets it under that name."""

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


def make(state: KernelState, line: Line, cell: Cell, session: Session) -> Service:
    """The service that a header and its cell ask for; nothing is sent. `session` has the machine they name.

    Raises:
        LineError: the name is a variable's. ServiceError: the cell cannot be served so. SyntaxError: it is no cell.
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
    return service


def start(state: KernelState, service: Service, front: Front, inbox: Inbox) -> None:
    """Start it, in the place of the one that has its name.

    Two at once would need their GPUs twice, so that one ends first; without GPUs it serves until the new one is ready.

    Raises:
        Exception: what its start raises; the notebook has no new service then.
    """
    for text in remarks(service.machine, service.backend):
        front.say(text)
    former = state.services.get(service.name)
    if former is not None and former.running and service.machine.gpus:
        front.say(f"The running {service.name} ends first: two at once would need their GPUs twice.")
        former.stop()
    service.start(front, inbox)
    if former is not None and former.running:
        former.stop()
        front.say(f"The former {service.name} has ended.")
    state.services[service.name] = state.shell.user_ns[service.name] = service


def _check_name(name: str, namespace: dict[str, Any], line: Line) -> None:
    held = namespace.get(name)
    if held is None or isinstance(held, Service):
        return
    start = line.text.find(name)
    raise LineError(
        f"{name} is a variable that holds a {type(held).__name__}, which the service would take the place of; "
        f"write another name, or `del {name}` first.",
        line.text,
        start,
        start + len(name),
    )
