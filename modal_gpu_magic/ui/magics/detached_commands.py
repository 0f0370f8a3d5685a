"""`%modal_gpu attach`, and what `status` and `stop` say of detached sessions."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import BackendLost, LineError, ModalGpuError, SessionEnded, TakenOver
from modal_gpu_magic.line.command import read
from modal_gpu_magic.plan.machine.quote import UNKNOWN, about, dollars
from modal_gpu_magic.plan.table import Column, Row, Table
from modal_gpu_magic.sdk.faults import translated
from modal_gpu_magic.sdk.known_sessions import forget, known
from modal_gpu_magic.session.costs.ledger import Ledger
from modal_gpu_magic.session.run.cost_meter import EXIT_SECONDS
from modal_gpu_magic.session.run.error_frames import clear_frames
from modal_gpu_magic.session.run.interrupts import Presses, in_one_line, interruptible, stopped, was_pressed
from modal_gpu_magic.ui.fronts.asking import can_ask
from modal_gpu_magic.ui.fronts.moments import time_text, zone_named
from modal_gpu_magic.ui.widgets.reader import READER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.registry import Entry, SentRun
    from modal_gpu_magic.sdk.sightings import Sighting
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.values.sync import CellResult
    from modal_gpu_magic.ui.fronts.shell import ShellFront
    from modal_gpu_magic.ui.magics.kernel_state import KernelState

ATTACH = "attach [NAME] [--from END]"
COLUMNS = (
    Column("session"),
    Column("machine"),
    Column("state", 34),
    Column("so far", right=True),
    Column("last line"),
)
UNSENT = "These cells waited in the former kernel and were not sent: {}. Run them again."
NONE = "No detached sessions. `%modal_gpu use H100 --session NAME --detach` makes one."


@translated()
def attach(state: KernelState, rest: str) -> None:
    """`attach [NAME] [--from END]`: continue a detached session here; without a name, list all of the account."""
    words = read(rest, {"--from": True, "--backend": True}, ATTACH)
    if len(words.plain) > 1 or words.flags.get("--from", "END").upper() != "END":
        raise LineError(f"attach takes the name of one session; write %modal_gpu {ATTACH}.")
    kind = state.chosen_kind(words.flags.get("--backend"))
    if not words.plain:
        show(kind)
        return
    (name,) = words.plain
    _attach(state, kind, _with_found(kind, _entry(kind, name)), skips="--from" in words.flags)


def _entry(kind: Kind, name: str) -> Entry:
    """Return the entry of a session.

    Raises:
        LineError: the account has no such session.
    """
    from modal_gpu_magic.sdk.client import connect_if_running
    from modal_gpu_magic.sdk.registry import Registry

    backend = connect_if_running(kind)
    registry = Registry(backend) if backend is not None else None
    entry = registry.get(name) if registry is not None else None
    if entry is None:
        forget(name, kind)
        names = ", ".join(each.session for each in registry.entries()) if registry is not None else ""
        raise LineError(f"No detached session is named {name!r}. Detached sessions: {names or 'none'}.")
    return entry


def _with_found(kind: Kind, entry: Entry) -> Entry:
    """Return an entry with the runs that only their logs know; the entry itself if the Volume cannot be read."""
    from modal_gpu_magic.sdk.client import connect
    from modal_gpu_magic.sdk.deployed import files_of, with_found

    with contextlib.suppress(Exception):
        return with_found(files_of(connect(kind, lasting=True), entry), entry)
    return entry


def _attach(state: KernelState, kind: Kind, entry: Entry, *, skips: bool) -> None:
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.ui.widgets.shell_channel import answering

    shell = state.shell
    session = state.sessions.get(entry.session)
    if session is None or session.backend != kind or not session.machine.detach:
        if session is not None:
            session.stop()
        session = Session(None, entry.session, kind, shell.user_ns, shell.user_ns_hidden)
    state.add(session)
    if entry.nodes == 1:  # a cell names the nodes of its cluster
        state.current = session.name
    state.show(session)
    try:
        with in_one_line(), answering(shell):
            result, pressed = _show_runs(state, session, entry, skips=skips)
    except BaseException as error:
        clear_frames(error)
        raise
    if result.has_result and result.result is not None:
        hook: Any = shell.displayhook
        hook.update_user_ns(result.result)
    if pressed:
        raise stopped("stopped after the cell had ended; the notebook has all values of the cell")


def _show_runs(state: KernelState, session: Session, entry: Entry, *, skips: bool) -> tuple[CellResult, bool]:
    """Show the runs that nobody has seen the end of, oldest first, and the last one; bind the session's values.

    Each run has an area of its own with its receipt, and an inbox, since late messages of a run may come after its end.
    The error of a run that others follow is shown there.

    Returns:
        The last run's result, and whether ■ was pressed after its end.

    Raises:
        Exception: what the last run has raised.
    """
    from modal_gpu_magic.session.values.sync import CellResult
    from modal_gpu_magic.ui.fronts.upkeep import keep_true

    left: list[SentRun | None] = [*entry.runs.sent] or [None]
    shown: set[str] = set()
    while True:
        run, result = left[0], CellResult()
        failure: Exception | None = None
        front = _front(state)
        if entry.runs.queued and not shown:
            front.say(UNSENT.format("; ".join(entry.runs.queued)))
        if run is not None and (len(left) > 1 or shown):
            front.say(_heading(run, entry.runs.dropped if not shown else 0))
        try:
            with Presses() as presses:
                result = session.attach(entry, front, presses.inbox, skips=skips, run=run, is_last=len(left) == 1)
        except Exception as error:  # noqa: BLE001 - raised again below if it is the last run's
            failure = error
        finally:
            if front.card is not None:
                state.last = front
                keep_true(front, session)
        shown.add(run.id if run is not None else "")
        left = [*(each for each in session.runs_to_show if each.id not in shown)]
        if not left or isinstance(failure, BackendLost | TakenOver):
            break
        if failure is not None:
            clear_frames(failure)
            state.shell.showtraceback((type(failure), failure, failure.__traceback__))
            front.error_is_shown()
    if failure is not None:
        raise failure
    return result, was_pressed(presses.inbox)


def _front(state: KernelState) -> ShellFront:
    from modal_gpu_magic.ui.fronts.choose import front_for

    settings = state.settings
    front = front_for(
        state.shell, quiet=settings.quiet, dashboard=settings.dashboard, notify_after=settings.shortest_notified
    )
    front.records = settings.record
    return front


def _heading(run: SentRun, dropped: int) -> str:
    """Return the line above one of several runs."""
    sent = time_text(run.sent_at, zone_named(READER.zone))
    from modal_gpu_magic.sdk.registry import MOST_RUNS

    lost = f"{dropped} earlier runs are not shown: a session keeps {MOST_RUNS}. " if dropped else ""
    return f"{lost}Sent at {sent}: {run.code}"


def show(kind: Kind) -> None:
    """Show all detached sessions of the account."""
    from IPython.display import display

    from modal_gpu_magic.sdk.client import connect_if_running
    from modal_gpu_magic.sdk.sightings import sightings

    backend = connect_if_running(kind)
    rows = tuple(_row(each, kind) for each in sightings(backend)) if backend is not None else ()
    if not rows:
        print(NONE)
        return
    table = Table(
        COLUMNS, rows, ("`%modal_gpu attach NAME` continues a session here, `%modal_gpu stop NAME` ends it.",)
    )
    display({"text/plain": table.text(), "text/html": table.html()}, raw=True)


def _row(seen: Sighting, kind: Kind) -> Row:
    entry = seen.entry
    return Row((entry.session, entry.title, _state(seen), _money(seen, kind), seen.last_line))


def _money(seen: Sighting, kind: Kind) -> str:
    """Return `$0.04`, `free (≈ $0.04 on Modal)` or `–`, as other displays do."""
    if seen.spent is None:
        return UNKNOWN
    return f"free ({about(seen.spent)} on Modal)" if kind == "local" else dollars(seen.spent)


def _state(seen: Sighting) -> str:
    """Return what a session does: `running since 12:03`, `idle until 12:40`, `not running`."""
    zone = zone_named(READER.zone)
    if seen.doing == "idle" and seen.until is not None:
        return f"idle until {time_text(seen.until, zone)} at the latest"
    if seen.since is None or seen.doing == "not running":
        return seen.doing
    return f"{seen.doing} since {time_text(seen.since, zone)}"


def others(state: KernelState) -> Iterator[str]:
    """Yield a line for each detached session of the account that this kernel does not have."""
    from modal_gpu_magic.sdk.client import connect_if_running
    from modal_gpu_magic.sdk.sightings import sightings

    mine = {name for name, session in state.sessions.items() if session.machine.detach and session.is_open}
    for kind in dict.fromkeys(each.kind for each in known() if each.session not in mine):
        try:
            backend = connect_if_running(kind)
            with translated():
                seen = sightings(backend) if backend is not None else ()
        except ModalGpuError as error:
            yield f"detached sessions: {error}"
            continue
        for each in seen:
            if each.entry.session not in mine:
                spent = f" · {_money(each, kind)} so far" if each.spent else ""
                entry = each.entry
                yield f"{entry.session}: {entry.title} · {kind} · detached · {_state(each)}{spent}"


@translated()
def stop(state: KernelState, name: str, kind: Kind) -> None:
    """End a detached session of the account, whichever kernel has made it.

    Raises:
        LineError: the account has no such session.
    """
    from modal_gpu_magic.sdk.client import connect
    from modal_gpu_magic.sdk.deployed import remove

    entry = _entry(kind, name)
    session = state.sessions.get(name)
    mine = session is not None and session.backend == kind and session.machine.detach
    lost = session.values.remote_names() if session is not None and mine else ()
    if not _agrees(state, name, lost or (() if mine else _saved_names(kind, entry))):
        print(f"{name}: not stopped")
        return
    if session is not None and mine:
        # If another kernel has the session, that kernel has the records of its costs.
        with contextlib.suppress(TakenOver, SessionEnded):
            session.check_owner(session.app)
        session.stop()
    remove(connect(kind, lasting=True), entry)
    forget(name, kind)
    if state.settings.ledger:
        with contextlib.suppress(OSError):  # the next run says that the ledger cannot be written
            Ledger().close(name, kind, time.time() + EXIT_SECONDS)
    print(stopped_words(name, lost))


def stopped_words(name: str, lost: tuple[str, ...]) -> str:
    """Return the line about a session that has been stopped, with the names that only its container had."""
    return f"{name}: stopped" + (f"; lost with it: {', '.join(lost)}" if lost else "")


def _agrees(state: KernelState, name: str, lost: tuple[str, ...]) -> bool:
    """Ask whether a session is to end with values that nothing else has, if someone can answer."""
    if not lost or not can_ask(state.shell):
        return True
    with interruptible():
        answer = input(f"Stop {name}, and lose {', '.join(lost)}? [y/N] ")
    return answer.strip().lower().startswith("y")


def _saved_names(kind: Kind, entry: Entry) -> tuple[str, ...]:
    """Return the names whose values the session's Volume has; empty: none, or the Volume cannot be read."""
    from modal_gpu_magic.sdk.client import connect
    from modal_gpu_magic.sdk.deployed import files_of
    from modal_gpu_magic.session.run.attaching import saved_names

    with contextlib.suppress(Exception):  # the question is a help; the user has asked for the end
        return saved_names(files_of(connect(kind, lasting=True), entry), entry.session)
    return ()


@translated()
def stop_all(state: KernelState, kind: Kind) -> None:
    """End all detached sessions of the account."""
    from modal_gpu_magic.sdk.client import connect_if_running
    from modal_gpu_magic.sdk.registry import Registry

    backend = connect_if_running(kind)
    for entry in Registry(backend).entries() if backend is not None else ():
        stop(state, entry.session, kind)
