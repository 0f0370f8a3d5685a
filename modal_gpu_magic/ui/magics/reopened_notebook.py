"""A reopened notebook: name its detached sessions, and offer to continue them below the cells that have used them.

Whoever loads the extension imports this: what asks a server, or makes a table, is imported later.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.errors import ModalGpuError
from modal_gpu_magic.sdk.known_sessions import known
from modal_gpu_magic.session.run.interrupts import callback
from modal_gpu_magic.ui.fronts.asking import can_ask
from modal_gpu_magic.ui.magics.notebook_name import notebook_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.sightings import Sighting
    from modal_gpu_magic.ui.magics.kernel_state import KernelState
    from modal_gpu_magic.ui.widgets.attach_bars import FoundSession

MARK: Final = b'"modal_gpu"'
"""Occurs in the file of a notebook that has outputs of this extension."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""The names of sessions that are offered: a line with any other name could mean something else."""
STATES: Final = {"waiting": "waiting", "running": "running"}
"""What a run does, by what its session does; any other session has ended its run."""


def welcome(shell: InteractiveShell) -> Iterator[str]:
    """Yield the lines about this notebook's detached sessions that may still run, without asking a server."""
    path = notebook_path(shell)
    for each in known():
        if each.notebook == path:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used_at))
            yield (
                f"The detached session {each.session} was used here on {when}: `%modal_gpu attach {each.session}` "
                f"continues it, `%modal_gpu stop {each.session}` ends it."
            )


def install(state: KernelState) -> None:
    """Offer the sessions once the cell that loads the extension has ended, if a user sees the notebook."""
    shell: Any = state.shell
    if getattr(shell, "kernel", None) is None:
        return

    @callback
    def offer_sessions(_result: object) -> None:
        shell.events.unregister("post_run_cell", offer_sessions)
        if can_ask(shell):
            threading.Thread(target=_prepare, args=(state,), name="modal-gpu-bars", daemon=True).start()

    shell.events.register("post_run_cell", offer_sessions)


def _prepare(state: KernelState) -> None:
    """Import the widget here, if the notebook may name a session; make it on the main thread, between cells."""
    if not known() and not _names_sessions(notebook_path(state.shell)):
        return
    with contextlib.suppress(ImportError):
        from modal_gpu_magic.ui.widgets.attach_bars import AttachBars

        kernel: Any = state.shell.kernel  # type: ignore[attr-defined]  # attribute of ipykernel's shell
        kernel.io_loop.add_callback(_open, state, AttachBars)


def _open(state: KernelState, kind: Any) -> None:
    if not state.is_closed and state.bars is None:
        state.bars = kind(partial(found, state))


def _names_sessions(path: str) -> bool:
    """Whether the file of a notebook has outputs of this extension, made by any computer."""
    with contextlib.suppress(OSError):
        return MARK in Path(path).read_bytes() if path else False
    return False


def found(state: KernelState, names: frozenset[str]) -> list[FoundSession]:
    """Return the sessions of these names that exist and that this kernel does not have. Called from a thread."""
    from modal_gpu_magic.sdk.client import connect_if_running
    from modal_gpu_magic.sdk.sightings import sightings

    mine = {name for name, each in tuple(state.sessions.items()) if each.machine.detach and each.is_open}
    rows: list[FoundSession] = []
    with contextlib.suppress(ModalGpuError):
        default = state.chosen_kind()
        kinds: dict[Kind, None] = dict.fromkeys((default, *(each.kind for each in known())))
        for kind in kinds:
            with contextlib.suppress(ModalGpuError):
                backend = connect_if_running(kind)
                seen = sightings(backend, names - mine) if backend is not None else ()
                rows += [
                    _row(each, "" if kind == default else f" --backend {kind}") for each in seen if _is_whole(each)
                ]
    return rows


def _is_whole(seen: Sighting) -> bool:
    """Whether a session has a run, and a name that a line can have: all of an account write the registry."""
    return seen.entry.run is not None and NAME.fullmatch(seen.entry.session) is not None


def _row(seen: Sighting, options: str) -> FoundSession:
    entry, run = seen.entry, seen.entry.run
    return {
        "session": entry.session,
        "run": run.id if run is not None else "",
        "state": STATES.get(seen.doing, "ended"),
        "line": f"%modal_gpu attach {entry.session}{options}",
    }
