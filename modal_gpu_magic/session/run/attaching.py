"""Attach to a detached session: follow its last run, then bind what its container has.

The run was sent by another kernel, and its answer is packed for that kernel's objects. This kernel has none of them: it
asks the container for the session, with the values that the answer would have brought, and all other names.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic._version import __version__
from modal_gpu_magic.errors import BackendLost, MachineError
from modal_gpu_magic.sdk.log_reader import returned_values
from modal_gpu_magic.session.run.conclude import packages_error
from modal_gpu_magic.session.run.pump import Pump
from modal_gpu_magic.session.run.settling import may_go_on, take_in
from modal_gpu_magic.session.values.deferred_imports import is_of
from modal_gpu_magic.session.values.sync import CellResult
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.own_modules import own_modules
from modal_gpu_magic.wire.messages.events import RESULT, Answer, Request, RunTrace, is_result
from modal_gpu_magic.wire.pickles.fingerprints import look
from modal_gpu_magic.wire.saved.reading import SavedState
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral
from modal_gpu_magic.wire.values.remote import RemoteValue
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modal_gpu_magic.sdk.deployed import DeployedApp
    from modal_gpu_magic.sdk.registry import SentRun
    from modal_gpu_magic.sdk.session_volume import VolumeFiles
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.run.run_end import Ended
    from modal_gpu_magic.session.run.settling import Sender
    from modal_gpu_magic.session.run.watch import Watch
    from modal_gpu_magic.wire.buffers.stores import Store

UNSENT_MESSAGE = "the cell was not sent: its kernel ended before. Run the cell again."
BOUND_MESSAGE = "Bound from the session, over values of this notebook: {}."
GONE_MESSAGE = "The session's container has ended; {}"
NOT_SAVED = "its values were not saved."
NOT_SAVED_NAME = "its container has ended, and it was not saved"
RESTORED = "from its Volume: {}."
RESTORED_OLDER = "from its Volume, as they were at {} (what later cells changed is lost): {}."
NOT_IN_SESSION = "the session has no such name any more"
SAVED = "it is saved in the session's Volume; the next remote cell has it"
COMPARE_SECONDS: Final = 1.0
"""Seconds for the comparison of replaced values with the session's; after that, a value counts as replaced."""
MOST_BYTES = 256 << 20
"""Size of saved values that are read into the notebook without being asked for."""


def follow(
    app: DeployedApp, run: SentRun, session: Sender, front: Front, inbox: Inbox, watch: Watch, *, skips: bool
) -> Ended:
    """Show a run that another kernel has sent, from its first event on, until the run ends."""
    session.status.meter.sent(at=run.sent_at)
    request = Request(run.id, __version__, "", run.count, timeout=run.timeout)
    call = app.attach(request, lambda kind, body: inbox.put((kind, body)), run.call)
    ended = Pump(call, inbox, front, watch, session.status, subject=session.machine.title, skips=skips).run()
    if not may_go_on(ended):
        app.reported(run.id, answered=False)  # the container has not met this kernel
    if ended.need is not None and ended.lacks("packages"):
        return replace(ended, answer=None, lost=packages_error(ended.need, session.machine), never_began=True)
    if ended.need is not None:  # its kernel ended before it could send the values
        return replace(ended, answer=None, lost=MachineError(UNSENT_MESSAGE), never_began=True)
    return ended


def adopt(session: Sender, app: DeployedApp, ended: Ended | None, say: Callable[[str], None]) -> CellResult | None:
    """Bind all names of the session's container, after its last run has ended.

    Args:
        session: the session.
        app: its App.
        ended: how the last run ended; None: the session has no run.
        say: shows a note.

    Returns:
        The result of the run; None: the run may go on, so nothing is bound.
    """
    run, answer = app.entry.run, ended.answer if ended is not None else None
    can_be_asked = True
    if ended is not None and answer is None:
        if isinstance(ended.lost, BackendLost) or may_go_on(ended):
            return None
        can_be_asked = ended.never_began or isinstance(ended.lost, MachineError)  # else its container has ended
    if session.machine.nodes > 1:
        return _of_cluster(session, app, run, say)
    can_be_asked = can_be_asked and app.is_awake()
    given = app.hand_over(run.id if run is not None else "") if can_be_asked else None
    app.find_runs()  # a run that its kernel could not announce has ended before that
    ran = answer is not None and answer.need is None
    if given is None or (ran and answer is not None and given.generation != answer.generation):
        return _saved(session, app, say)
    session.generation = given.generation
    session.history[:] = known_runs(given.saved_run, given.last_run)
    return _bind(session, given, session.store, run.count if run is not None else 0, say)


def _of_cluster(session: Sender, app: DeployedApp, run: SentRun | None, say: Callable[[str], None]) -> CellResult:
    """Bind what a cluster's last run has returned: its nodes keep nothing, so the log of the run has it."""
    given = returned_values(app.files, session.name, run.id) if run is not None else None
    if run is None or given is None:
        return CellResult()
    return _bind(session, given, None, run.count, say)


def known_runs(saved: str, last: str) -> tuple[RunTrace, ...]:
    """Return the runs that a saved state may be of, if the session's container ends before this kernel's first cell.

    Args:
        saved: the run whose changes the container had saved last; empty: none.
        last: the last run that the container had, whatever it may have changed. This kernel may not know that run yet.
    """
    return (*(RunTrace(run) for run in (saved,) if run not in ("", last)), RunTrace(last, None))


@unwarned()
def _bind(session: Sender, given: Answer, shared: Store | None, count: int, say: Callable[[str], None]) -> CellResult:
    """Bind what the container has given. `shared`: the store of its buffers; None: the answer has them."""
    store = shared or InlineStore(dict(given.values.inline) if given.values else {})
    has = set(given.values.names if given.values else ()) | {each.name for each in given.stays} | given.imported.keys()
    before = {name: session.namespace[name] for name in has & session.namespace.keys()}
    unlike = session.versions.unlike(given.versions, session.machine)
    result = take_in(session, partial(session.values.incoming, given, store, session.fetch, count, unlike))
    session.values.adopted(has, NOT_IN_SESSION)
    session.free_buffers()
    _say_lost(before, session.namespace, say)
    return CellResult(result.result, result.has_result, ())


def _say_lost(before: Mapping[str, Any], namespace: dict[str, Any], say: Callable[[str], None]) -> None:
    """Say which values of the notebook were replaced: imported objects stay, and an equal value loses nothing."""
    hasher = Hasher(COMPARE_SECONDS)
    names = (name for name in before if not is_result(name))
    if lost := sorted(name for name in names if _is_lost(before[name], name, namespace, hasher)):
        say(BOUND_MESSAGE.format(", ".join(lost)))


def _is_lost(before: Any, name: str, namespace: dict[str, Any], hasher: Hasher) -> bool:
    now = namespace.get(name)
    if now is before or type(before) is RemoteValue:
        return False
    if type(before) is DeferredImport:
        return not is_of(now, deferral(before).statement)
    if type(now) is not type(before):
        return True
    one, other = (look((value,), namespace, hasher) for value in (before, now))
    return one is None or other is None or one.stream != other.stream


def _saved(session: Sender, app: DeployedApp, say: Callable[[str], None]) -> CellResult:
    """Bind the values of a session whose container has ended; the next container restores all that is saved."""
    found = saved_values(app, session.name, session.namespace)
    if found is None:
        say(GONE_MESSAGE.format(NOT_SAVED))
        return CellResult()
    session.restores_any = True
    values, staying, older = found
    session.values.modules.take(values)
    result, has_result = values.pop(RESULT, None), RESULT in values
    before = {name: session.namespace[name] for name in {*values, *staying} & session.namespace.keys()}
    session.namespace.update(values)
    for name in staying:
        value = RemoteValue(name, session.name, "object", "", SAVED, fetch=session.fetch)
        session.namespace[name] = value
        session.values.stand_ins.bind(name, value)
    session.values.adopted((*values, *staying), NOT_SAVED_NAME)
    names = sorted(name for name in (*values, *staying) if not is_result(name))
    what = ", ".join(names) or "no values"
    say(GONE_MESSAGE.format(RESTORED_OLDER.format(older, what) if older else RESTORED.format(what)))
    _say_lost(before, session.namespace, say)
    return CellResult(result, has_result)


def saved_values(
    app: DeployedApp, session: str, namespace: dict[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...], str] | None:
    """Return the values that the session's Volume has, the names that are left there, and when they were saved.

    The last result is under `RESULT`. Variables of the user's modules are among them, by the name of their place, if
    names of the notebook share their objects, or the kernel has imported the module. The time is empty if the values
    have all that the last run changed.

    Returns:
        None: no values were saved.
    """
    state = SavedState.open(app.files.read, session)
    if state is None:
        return None
    last = app.entry.run
    is_older = last is not None and last.id != state.run
    older = time.strftime("%H:%M:%S", time.localtime(state.saved_at)) if is_older else ""
    if state.nbytes > MOST_BYTES:
        return {}, state.names, older
    places = state.places_with(own_modules().loaded)
    loaded = state.load((*state.names, *places, *filter(None, (state.result,))), namespace)
    values = dict(loaded.values)
    if state.result in values and state.result not in state.names:
        values[RESULT] = values.pop(state.result)
    elif state.result:
        values[RESULT] = values[state.result]
    return values, tuple(name for name in loaded.failed if name not in places), older


def saved_names(files: VolumeFiles, session: str) -> tuple[str, ...]:
    """Return the names whose values a session's Volume has."""
    state = SavedState.open(files.read, session)
    return () if state is None else tuple(name for name in state.names if not is_result(name))
