"""What `%modal_gpu WORD` does: one function a word, and the table of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.help import help_text
from modal_gpu_magic.plan.table import WIDTH, Table
from modal_gpu_magic.ui import files
from modal_gpu_magic.ui.advice import advice
from modal_gpu_magic.ui.catalog import gpu_table

if TYPE_CHECKING:
    from modal_gpu_magic.session.metrics import Metrics
    from modal_gpu_magic.session.service import Service
    from modal_gpu_magic.session.session import Session
    from modal_gpu_magic.ui.magic import ModalGpu
    from modal_gpu_magic.ui.picker import GpuPicker

NARROWEST, WIDEST = 80, 160
"""Columns of a table in a terminal, whatever its own width."""

Command = Callable[["ModalGpu", str], Any]


def picker(magics: ModalGpu, rest: str) -> GpuPicker:
    """`picker [SPEC ...]`: choose a GPU by hand, and see the session live; `%modal_gpu` alone does it, too."""
    return magics.picker(rest)


def last(magics: ModalGpu, _rest: str) -> None:
    """`last`: the last cell's receipt, the picture of its GPUs and its output again: after a page's reload, say."""
    if magics.last is None:
        raise LineError("No cell has run yet in this kernel.")
    magics.last.again()


def use(magics: ModalGpu, rest: str) -> None:
    """`use SPEC ... [options]`: set the session's machine; nothing starts."""
    magics.use(rest)


def gpus(_magics: ModalGpu, _rest: str) -> None:
    """`gpus`: the catalog: memory, counts, prices, bandwidth, what each is for."""
    _show(gpu_table())


def recommend(_magics: ModalGpu, rest: str) -> None:
    """`recommend MODEL [TASK]`: GPUs for a model such as 13B; TASK: inference, lora, full or pretrain."""
    _show(advice(rest).table)


def _show(table: Table) -> None:
    """A table in the notebook; text as wide as the terminal where there is one."""
    from IPython.display import display

    text = table.text(min(max(shutil.get_terminal_size((WIDTH, 0)).columns, NARROWEST), WIDEST))
    display({"text/plain": text, "text/html": table.html()}, raw=True)


def status(magics: ModalGpu, _rest: str) -> None:
    """`status`: the sessions, their machines, and what lives there; the services."""
    if not (magics.sessions or magics.services):
        print("No session yet: a cell that starts with `%%modal_gpu H100` opens one.")
    for name, session in magics.sessions.items():
        until = session.meter.standing.idle_until
        idle = "not running" if until is None else f"idle until {time.strftime('%H:%M', time.localtime(until))}"
        lives = ", ".join(session.values.remote_names()) or "nothing"
        print(f"{name}: {session.machine.title} · {session.backend} · {idle} · lives there: {lives}")
    for service in magics.services.values():
        print(f"service {service!r}")


def metrics(magics: ModalGpu, rest: str) -> Metrics:
    """`metrics [SESSION]`: the readings of its GPUs: `m = %modal_gpu metrics`, then m.to_dataframe(), m.plot()."""
    name = rest or magics.current
    if name not in magics.sessions:
        raise LineError(f"There is no session {name!r}; there is: {', '.join(magics.sessions) or 'none'}.")
    return magics.sessions[name].metrics


def stop(magics: ModalGpu, rest: str) -> None:
    """`stop [NAME]`: end containers now, of a session or a service; what lives there is gone."""
    running: list[tuple[str, Session | Service]] = [*magics.sessions.items(), *magics.services.items()]
    if rest and rest not in dict(running):
        names = ", ".join(name for name, _ in running)
        raise LineError(f"There is no session or service {rest!r}; there is: {names or 'none'}.")
    for name, each in running:
        if rest in ("", name):
            each.stop()
            print(f"{name}: ended")


def show_help(_magics: ModalGpu, _rest: str) -> None:
    """`help`: this text."""
    print(help_text())
    print("\nCommands:")
    for word, command in COMMANDS.items():
        print(f"  %modal_gpu {word:<10} {(command.__doc__ or '').partition(': ')[2]}")


COMMANDS: dict[str, Command] = {
    "picker": picker,
    "use": use,
    "gpus": gpus,
    "recommend": recommend,
    "put": files.put,
    "get": files.get,
    "ls": files.ls,
    "status": status,
    "last": last,
    "metrics": metrics,
    "stop": stop,
    "help": show_help,
}


def unknown(word: str) -> str:
    """The sentence for a word that is no command."""
    near = nearest(word, COMMANDS, limit=1)
    meant = f"did you mean {near[0]}?" if near else f"there is: {', '.join(COMMANDS)}."
    return f"%modal_gpu has no command {word!r}; {meant} To run a cell, start it with %%modal_gpu."
