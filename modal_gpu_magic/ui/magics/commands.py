"""The commands of `%modal_gpu WORD`: one function per command, and the table that names them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.help import help_text, table
from modal_gpu_magic.plan.machine.quote import dollars
from modal_gpu_magic.plan.table import WIDTH, Table
from modal_gpu_magic.sdk.known_sessions import known
from modal_gpu_magic.ui.fronts.moments import time_text, zone_named
from modal_gpu_magic.ui.magics import copy_commands, detached_commands
from modal_gpu_magic.ui.magics.advice import advice
from modal_gpu_magic.ui.magics.catalog import gpu_table
from modal_gpu_magic.ui.magics.kernel_state import CLUSTER, NAME, ModalGpu
from modal_gpu_magic.ui.widgets.reader import READER

if TYPE_CHECKING:
    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.metrics import Metrics
    from modal_gpu_magic.session.service.facade import Service
    from modal_gpu_magic.ui.magics.kernel_state import KernelState
    from modal_gpu_magic.ui.widgets.picker import GpuPicker

NARROWEST, WIDEST = 80, 160
"""Bounds of the width of a table in a terminal, in columns."""

EVERY = frozenset({"all", "*", "--all", "everything"})

NO_MACHINE_OF_A_SESSION = (
    "Clusters keep no variables between cells, so a session cannot use one: write the cluster after "
    "%%modal_gpu in each cell."
)

Command = Callable[["KernelState", str], Any]


def picker(state: KernelState, rest: str) -> GpuPicker:
    """`picker [SPEC ...]`: choose a GPU and watch the session in a widget; `%modal_gpu` alone does the same."""
    from modal_gpu_magic.plan.machine.definition import specs_text
    from modal_gpu_magic.ui.widgets.picker import GpuPicker

    session = state.sessions.get(state.current)
    specs = state.parse(rest).specs or (session.machine.gpus if session else ())
    made = GpuPicker(specs_text(specs) or "H100", use=partial(use, state), session=session)
    state.pickers.add(made)
    return made


def last(state: KernelState, _rest: str) -> None:
    """`last`: show the last cell's output, chart and receipt again."""
    if state.last is None:
        raise LineError("No cell has run yet in this kernel.")
    state.last.again()


def use(state: KernelState, rest: str) -> None:
    """`use SPEC ... [options]`: choose the GPU of later cells; starts nothing."""
    from modal_gpu_magic.line.options import OPTIONS
    from modal_gpu_magic.ui.fronts.choose import front_for

    line = state.parse(rest)
    given = line.options.given("how")
    only_cells = [flag for flag, option in OPTIONS.items() if option.field in given]
    if only_cells:
        verb = "belongs" if len(only_cells) == 1 else "belong"
        raise LineError(f"{' and '.join(only_cells)} {verb} to a cell; write %%{NAME} above the code.")
    front = front_for(state.shell, quiet=state.settings.quiet)
    line = state.choose(line, front)
    if state.name_of(line).endswith(CLUSTER):
        raise LineError(NO_MACHINE_OF_A_SESSION)
    session = state.session_for(line, front)
    state.show(session)
    state.current = session.name


def gpus(_state: KernelState, _rest: str) -> None:
    """`gpus`: list the GPUs with memory, counts, prices and typical uses."""
    _show(gpu_table())


def recommend(_state: KernelState, rest: str) -> None:
    """`recommend MODEL [TASK]`: list the GPUs that hold a model such as 13B; TASK: inference, lora, full, pretrain."""
    _show(advice(rest).table)


def _show(table: Table) -> None:
    """Display a table: HTML in a notebook, text as wide as the terminal elsewhere."""
    from IPython.display import display

    text = table.text(min(max(shutil.get_terminal_size((WIDTH, 0)).columns, NARROWEST), WIDEST))
    display({"text/plain": text, "text/html": table.html()}, raw=True)


def status(state: KernelState, _rest: str) -> None:
    """`status`: list the sessions, background cells and services; names the variables that are only on the GPU."""
    elsewhere = list(detached_commands.others(state))
    if not (state.sessions or state.services or elsewhere):
        print("No sessions. Start a cell with `%%modal_gpu H100` to open one.")
    for name, session in state.sessions.items():
        kept = ", ".join(session.values.remote_names()) or "none"
        now = (session.machine.title, session.backend, *standing_words(session), f"only on the GPU: {kept}")
        print(f"{name}: {' · '.join(now)}")
        for run in session.backlog.runs:
            print(f"  {run.text}")
    for service in state.services.values():
        print(f"service {service!r}")
    for line in elsewhere:
        print(line)


def standing_words(session: Session) -> tuple[str, ...]:
    """Return what a session's container does, and what the session has cost so far, as the picker's strip shows it."""
    standing = session.status.standing
    if standing.idle_until is not None:
        now = f"idle until {time_text(standing.idle_until, zone_named(READER.zone))}"
    else:
        now = "not running" if standing.doing == "ended" else standing.doing
    if standing.spent == 0:
        return (now,)
    spent = f"{dollars(standing.spent)} so far"
    price = session.price_text
    return now, f"free (≈ {price} on Modal, {spent})" if session.backend == "local" else f"{price}, {spent}"


def costs(state: KernelState, rest: str) -> None:
    """`costs [today|week|month] [--bill]`: what cells have cost by day, notebook and GPU; beside Modal's bill."""
    from modal_gpu_magic.ui.fronts.choose import front_for
    from modal_gpu_magic.ui.magics.costs import show

    backend = state.kind_of_backend(None, front_for(state.shell, quiet=state.settings.quiet))
    show(rest, backend, has_ledger=state.settings.ledger)


def metrics(state: KernelState, rest: str) -> Metrics:
    """`metrics [SESSION]`: return the GPU readings: m = %modal_gpu metrics, then m.plot() or m.to_dataframe()."""
    name = rest or state.current
    if name not in state.sessions:
        raise LineError(f"No session is named {name!r}. Sessions: {', '.join(state.sessions) or 'none'}.")
    return state.sessions[name].metrics


def stop(state: KernelState, rest: str) -> None:
    """`stop [NAME | --all]`: stop the containers, or one session or service; variables only on the GPU are lost.

    Detached sessions end by their name, and with `--all`.
    """
    running: list[tuple[str, Session | Service]] = [*state.sessions.items(), *state.services.items()]
    detached = [name for name, session in state.sessions.items() if session.machine.detach]
    if rest.lower() in EVERY - {"--all"}:
        raise LineError("stop alone stops every session and service; write %modal_gpu stop. Detached ones: stop --all.")
    if rest and rest != "--all" and (rest in detached or rest not in dict(running)):
        _stop_detached(state, rest, [name for name, _ in running])
        return
    for name, each in running:
        if name in detached:
            if not rest and state.sessions[name].is_open:
                print(f"{name}: detached, still running; `%modal_gpu stop {name}` ends it")
        elif rest in ("", "--all", name):
            lost = state.sessions[name].values.remote_names() if name in state.sessions else ()
            each.stop()
            print(detached_commands.stopped_words(name, lost))
    if rest == "--all":
        for kind in _detached_kinds(state, None):
            detached_commands.stop_all(state, kind)


def _stop_detached(state: KernelState, name: str, running: list[str]) -> None:
    """End a detached session of the account.

    Raises:
        LineError: the account has no such session.
    """
    kinds = _detached_kinds(state, name)
    if not kinds:
        raise LineError(
            f"No session or service is named {name!r}. Sessions and services: {', '.join(running) or 'none'}."
        )
    detached_commands.stop(state, name, kinds[0])


def _detached_kinds(state: KernelState, name: str | None) -> list[Kind]:
    """Return the backends that may have a detached session: as far as this machine knows, and the cloud if in use."""
    kinds: list[Kind] = [
        each.backend for key, each in state.sessions.items() if each.machine.detach and name in (None, key)
    ]
    kinds += [each.kind for each in known() if name in (None, each.session)]
    if state.chosen_kind() == "cloud":
        kinds.append("cloud")
    return list(dict.fromkeys(kinds))


def show_help(_state: KernelState, _rest: str) -> None:
    """`help`: show this text."""
    print(user_help())


def user_help() -> str:
    """Return the whole help: the grammar of a header, the commands and the settings."""
    commands = ((f"%modal_gpu {word}", (each.__doc__ or "").partition(": ")[2]) for word, each in COMMANDS.items())
    settings = ((name, trait.help) for name, trait in ModalGpu.class_own_traits(config=True).items())
    below = (table("Commands", commands), table("Settings: %config ModalGpu.NAME = VALUE", settings))
    return "\n".join((help_text(), *below)).rstrip()


COMMANDS: dict[str, Command] = {
    "picker": picker,
    "use": use,
    "gpus": gpus,
    "recommend": recommend,
    "put": copy_commands.put,
    "get": copy_commands.get,
    "ls": copy_commands.ls,
    "status": status,
    "attach": detached_commands.attach,
    "last": last,
    "metrics": metrics,
    "costs": costs,
    "stop": stop,
    "help": show_help,
}


MEANT = {
    **dict.fromkeys(
        ("kill", "exit", "quit", "shutdown", "terminate", "close", "end", "off", "restart", "reset"), "stop"
    ),
    **dict.fromkeys(("list", "sessions", "ps", "info", "state", "top", "running", "services"), "status"),
    **dict.fromkeys(("pick", "choose", "select", "widget", "ui", "gui"), "picker"),
    **dict.fromkeys(("upload", "push", "send", "cp", "copy"), "put"),
    **dict.fromkeys(("download", "pull", "fetch"), "get"),
    **dict.fromkeys(("gpu", "prices", "price", "types", "machines", "available"), "gpus"),
    **dict.fromkeys(("set", "machine", "switch", "run", "start"), "use"),
    **dict.fromkeys(("dir", "volumes", "volume", "files"), "ls"),
    **dict.fromkeys(("suggest", "advise", "advice", "model"), "recommend"),
    **dict.fromkeys(("smi", "nvidia-smi", "memory", "utilization"), "metrics"),
    **dict.fromkeys(("cost", "bill", "billing", "money", "spending", "spent", "ledger", "budget"), "costs"),
    **dict.fromkeys(("reattach", "resume", "continue", "join", "reconnect", "detach", "detached"), "attach"),
    **dict.fromkeys(("receipt", "result", "output", "again"), "last"),
    **dict.fromkeys(("usage", "docs", "man", "options", "commands"), "help"),
}
"""Other words for the commands."""
ALONE = frozenset({"gpus", "status", "last"})
"""Commands that take no words."""
TOKEN_WORDS = frozenset({"login", "setup", "auth", "token", "connect", "configure"})


def unknown(word: str) -> str:
    """Return the error message for an unknown command."""
    if word in TOKEN_WORDS:
        return f"%modal_gpu has no command {word!r}; run `modal setup` in a terminal, or `!modal setup` in a cell."
    near = [MEANT[word.lower()]] if word.lower() in MEANT else nearest(word, COMMANDS, limit=1)
    meant = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}."
    return f"%modal_gpu has no command {word!r}; {meant} To run a cell, start it with %%modal_gpu."


def alone(word: str, rest: str, *, is_machine: bool) -> str:
    """Return the sentence about the words after a command that takes none. `is_machine`: they name a GPU."""
    other = f", or %modal_gpu {rest} to choose the GPU" if is_machine else ""
    return f"{word} takes no words; write %modal_gpu {word}{other}."
