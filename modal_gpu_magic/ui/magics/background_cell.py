"""`%%modal_gpu H100 --bg train`: run a cell in the background, and bind its handle to that name in the notebook."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.session.run.background import Background, BackgroundRun
from modal_gpu_magic.session.run.backlog import Job
from modal_gpu_magic.session.run.error_frames import clear_frames
from modal_gpu_magic.ui.fronts.background import BackgroundNotebook, background_front
from modal_gpu_magic.ui.fronts.choose import front_for
from modal_gpu_magic.ui.fronts.shell import ShellFront
from modal_gpu_magic.ui.fronts.upkeep import keep_true

if TYPE_CHECKING:
    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.values.sync import CellResult
    from modal_gpu_magic.ui.magics.kernel_state import KernelState


def start(state: KernelState, line: Line, body: str, presses: Inbox) -> None:
    """Start a background cell, or queue it, and bind its handle.

    Raises:
        LineError: the name is taken.
        ModalGpuError: the cell cannot be sent.
    """
    name = str(line.options.bg)
    check_name(name, state.shell.user_ns, line)
    run = BackgroundRun(name, state.name_of(line))
    quiet = state.settings.quiet or bool(line.options.quiet)
    settings = state.settings
    front = background_front(
        state.shell, run, quiet=quiet, dashboard=settings.dashboard, notify_after=settings.shortest_notified
    )
    front.records = settings.record
    line = state.choose(line, front)
    spending = partial(state.spending, line, front)
    before = state.sessions.get(state.name_of(line))
    machine = before.machine if before is not None else None
    plan = state.plan(line, front, presses)
    cell = replace(state.cell_of(line, body, plan.session), spending=spending())
    plan.refuse_invalid(cell, state.shell.transform_cell)
    state.agree(plan.machine, plan.session.backend, cell)
    plan.refuse_to_lose(cell)
    session = state.apply(plan, line, front, presses)
    state.show(session)
    state.note_installs(body, front)
    state.note_budget(cell, front)
    cell = replace(cell, stdin=False, background=name)
    job = Job(cell, front, run, partial(_ended, state, session, front, cell.count), spending)
    try:
        session.backlog.start(job, presses)
    except BaseException as error:
        clear_frames(error)
        if isinstance(error, MachineError):
            session.fall_back(machine)
        raise
    state.shell.user_ns[name] = Background(run)
    if run.doing == "queued" and isinstance(front, BackgroundNotebook) and front.widgets and not quiet:
        front.wait()
    elif run.doing == "queued":  # said by the cell itself, which ends now
        front_for(state.shell, quiet=False).say(f"{run.text}.")


def _ended(state: KernelState, session: Session, front: Any, count: int, result: CellResult | None) -> None:
    """Keep the result as IPython keeps that of a cell, and the receipt true."""
    if result is not None and result.has_result and result.result is not None:
        namespace = state.shell.user_ns
        namespace["_oh"][count] = namespace[f"_{count}"] = result.result
    if isinstance(front, ShellFront) and front.card is not None:
        state.last = front
        keep_true(front, session)


def check_name(name: str, namespace: dict[str, Any], line: Line) -> None:
    """Refuse a name that the notebook uses.

    Raises:
        LineError: the name is a variable, or a background cell of that name has not ended.
    """
    value = namespace.get(name)
    if value is None or (isinstance(value, Background) and value.done()):
        return
    start = line.text.find(name, line.text.find("--bg"))
    if isinstance(value, Background):
        words = f"{name} is still running; write another name, or end it with {name}.cancel()."
    else:
        kind = type(value).__name__
        words = f"{name} is already a variable of type {kind}; write another name, or `del {name}` first."
    raise LineError(words, line.text, start, start + len(name))
