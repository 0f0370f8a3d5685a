"""The commands of `%modal_gpu WORD`: one function per command, and the table that names them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.help import help_text
from modal_gpu_magic.plan.machine.quote import dollars
from modal_gpu_magic.plan.table import WIDTH, Table
from modal_gpu_magic.ui.magics import copy_commands
from modal_gpu_magic.ui.magics.advice import advice
from modal_gpu_magic.ui.magics.catalog import gpu_table
from modal_gpu_magic.ui.magics.kernel_state import CLUSTER, NAME

if TYPE_CHECKING:
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.metrics import Metrics
    from modal_gpu_magic.session.service.facade import Service
    from modal_gpu_magic.ui.magics.kernel_state import KernelState
    from modal_gpu_magic.ui.widgets.picker import GpuPicker

NARROWEST, WIDEST = 80, 160
"""Bounds of the width of a table in a terminal, in columns."""

NO_MACHINE_OF_A_SESSION = (
    "Clusters keep no variables between cells, so a session cannot use one: write the cluster after "
    "%%modal_gpu in each cell."
)

Command = Callable[["KernelState", str], Any]


def picker(state: KernelState, rest: str) -> GpuPicker:
    """`picker [SPEC ...]`: choose a GPU in a widget and watch the session; `%modal_gpu` alone does the same."""
    from modal_gpu_magic.plan.machine.definition import specs_text
    from modal_gpu_magic.ui.widgets.picker import GpuPicker

    session = state.sessions.get(state.current)
    specs = state.parse(rest).specs or (session.machine.gpus if session else ())
    made = GpuPicker(specs_text(specs) or "H100", use=partial(use, state), session=session)
    state.pickers.add(made)
    return made


def last(state: KernelState, _rest: str) -> None:
    """`last`: show the last cell's receipt, GPU chart and output again, e.g. after a page reload."""
    if state.last is None:
        raise LineError("No cell has run yet in this kernel.")
    state.last.again()


def use(state: KernelState, rest: str) -> None:
    """`use SPEC ... [options]`: set the session's machine without starting it."""
    from modal_gpu_magic.line.options import OPTIONS
    from modal_gpu_magic.ui.fronts.choose import front_for

    line = state.parse(rest)
    given = line.options.given("how")
    only_cells = [flag for flag, option in OPTIONS.items() if option.field in given]
    if only_cells:
        raise LineError(f"{', '.join(only_cells)} belongs to a cell: write it after %%{NAME}.")
    front = front_for(state.shell, quiet=state.settings.quiet)
    line = state.choose(line, front)
    if state.name_of(line).endswith(CLUSTER):
        raise LineError(NO_MACHINE_OF_A_SESSION)
    session = state.session_for(line, front)
    state.show(session)
    state.current = session.name


def gpus(_state: KernelState, _rest: str) -> None:
    """`gpus`: list all GPUs with memory, counts, prices, bandwidth and typical uses."""
    _show(gpu_table())


def recommend(_state: KernelState, rest: str) -> None:
    """`recommend MODEL [TASK]`: list GPUs for a model such as 13B; TASK: inference, lora, full or pretrain."""
    _show(advice(rest).table)


def _show(table: Table) -> None:
    """Display a table: HTML in a notebook, text as wide as the terminal elsewhere."""
    from IPython.display import display

    text = table.text(min(max(shutil.get_terminal_size((WIDTH, 0)).columns, NARROWEST), WIDEST))
    display({"text/plain": text, "text/html": table.html()}, raw=True)


def status(state: KernelState, _rest: str) -> None:
    """`status`: list the sessions with their machines and the variables kept on the GPU, and the services."""
    if not (state.sessions or state.services):
        print("No sessions. Start a cell with `%%modal_gpu H100` to open one.")
    for name, session in state.sessions.items():
        kept = ", ".join(session.values.remote_names()) or "none"
        now = (session.machine.title, session.backend, *standing_words(session), f"only on the GPU: {kept}")
        print(f"{name}: {' · '.join(now)}")
    for service in state.services.values():
        print(f"service {service!r}")


def standing_words(session: Session) -> tuple[str, ...]:
    """Return what a session's container does, and what the session has cost so far, as the picker's strip shows it."""
    standing = session.status.standing
    if standing.idle_until is not None:
        now = f"idle until {time.strftime('%H:%M', time.localtime(standing.idle_until))}"
    else:
        now = "not running" if standing.doing == "ended" else standing.doing
    if standing.spent == 0:
        return (now,)
    spent = f"{dollars(standing.spent)} so far"
    price = session.price_text
    return now, f"free (≈ {price} on Modal, {spent})" if session.backend == "local" else f"{price}, {spent}"


def metrics(state: KernelState, rest: str) -> Metrics:
    """`metrics [SESSION]`: return the GPU readings: `m = %modal_gpu metrics`, then m.to_dataframe(), m.plot()."""
    name = rest or state.current
    if name not in state.sessions:
        raise LineError(f"No session is named {name!r}. Sessions: {', '.join(state.sessions) or 'none'}.")
    return state.sessions[name].metrics


def stop(state: KernelState, rest: str) -> None:
    """`stop [NAME]`: stop the containers of a session or service; variables kept only on the GPU are lost."""
    running: list[tuple[str, Session | Service]] = [*state.sessions.items(), *state.services.items()]
    if rest and rest not in dict(running):
        names = ", ".join(name for name, _ in running)
        raise LineError(f"No session or service is named {rest!r}. Sessions and services: {names or 'none'}.")
    for name, each in running:
        if rest in ("", name):
            each.stop()
            print(f"{name}: stopped")


def show_help(_state: KernelState, _rest: str) -> None:
    """`help`: show this text."""
    print(help_text())
    print("\nCommands:")
    for word, command in COMMANDS.items():
        print(f"  %modal_gpu {word:<10} {(command.__doc__ or '').partition(': ')[2]}")


COMMANDS: dict[str, Command] = {
    "picker": picker,
    "use": use,
    "gpus": gpus,
    "recommend": recommend,
    "put": copy_commands.put,
    "get": copy_commands.get,
    "ls": copy_commands.ls,
    "status": status,
    "last": last,
    "metrics": metrics,
    "stop": stop,
    "help": show_help,
}


def unknown(word: str) -> str:
    """Return the error message for an unknown command."""
    near = nearest(word, COMMANDS, limit=1)
    meant = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}."
    return f"%modal_gpu has no command {word!r}; {meant} To run a cell, start it with %%modal_gpu."
