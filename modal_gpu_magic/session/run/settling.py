"""Settle open runs: a run without an answer is settled before the session sends or fetches other values.

After a run is sent, only the container knows whether the cell ran. A stop may return the prompt before the container
reports the start; the run is then open. The next remote cell or fetch first asks the container, which keeps its last
answer. A run that the container has not begun when it is asked never begins.
"""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modal_gpu_magic.errors import TakenOver, TransferError
from modal_gpu_magic.sdk.faults import is_out_of_reach
from modal_gpu_magic.session.run.interrupts import stopped, whole
from modal_gpu_magic.session.values.conflicts import Conflicts
from modal_gpu_magic.session.values.sync import CellResult, Outgoing
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.own_modules import own_modules
from modal_gpu_magic.wire.messages.events import RunTrace
from modal_gpu_magic.wire.messages.place_names import place_in, shown_place
from modal_gpu_magic.wire.transfer import Packed
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.app import OpenApp
    from modal_gpu_magic.session.project.modules import LocalModules
    from modal_gpu_magic.session.project.sent_files import Files
    from modal_gpu_magic.session.run.conclude import FinishedRun
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.run.run_end import Ended
    from modal_gpu_magic.session.run.status import Status
    from modal_gpu_magic.session.values.process_state import ProcessState
    from modal_gpu_magic.session.values.sync import Values
    from modal_gpu_magic.session.values.versions import Versions
    from modal_gpu_magic.wire.buffers.stores import SharedStore
    from modal_gpu_magic.wire.messages.events import Answer
    from modal_gpu_magic.wire.values.remote import RemoteValue

BEGAN_MESSAGE = "The cell that you stopped or gave up had begun: its changes until then are in effect now."
KEPT_MESSAGE = "Names that you bound since then keep their values: {}."
KEPT_BESIDE = "Names that you bound while {} ran keep their values: {}."
LOST_MESSAGE = "What the notebook has changed since then was replaced by what that cell returned: {}."
LOST_BESIDE = "What the notebook changed while {0} ran was replaced by what {0} returned: {1}."
FOLLOWED_SECONDS = 0.05
"""Seconds between two looks whether the cell that another thread waits for has ended."""
T = TypeVar("T")
_GONE: Any = object()


@dataclass(slots=True)
class OpenRun:
    """A run that has been sent and not been settled.

    Attributes:
        run: the run's id.
        outgoing: the values that were sent.
        packed: the transfer of these values.
        count: the cell's execution count.
        bindings: the notebook's variables when the notebook went on without the run: when the cell was stopped, or
            was sent into the background; empty: the notebook waits.
        changes: the names that the run may change; None: any name.
        follower: the thread of the cell that waits for the end of the run and then applies the answer; None: no cell
            waits, or the run is in the background.
    """

    run: str
    outgoing: Outgoing
    packed: Packed
    count: int
    bindings: dict[str, Any] = field(default_factory=dict)
    changes: frozenset[str] | None = None
    follower: threading.Thread | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a late answer is applied: a cell and a fetch may both have asked for it."""

    @property
    def is_followed_elsewhere(self) -> bool:
        """Whether another thread waits for the end of the run."""
        follower = self.follower
        return follower is not None and follower is not threading.current_thread() and follower.is_alive()

    def rebound(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """The names that the notebook has bound again since it went on, with their values; `_GONE`: deleted."""
        if not self.bindings:  # the answer arrived, but applying it failed
            return {}
        names = self.bindings.keys() | namespace.keys()
        then, now = self.bindings, namespace
        return {name: now.get(name, _GONE) for name in names if not _is(now.get(name, _GONE), then.get(name, _GONE))}

    @property
    def then(self) -> dict[str, Any]:
        """The values of the notebook's variables when it went on; those that still exist."""
        found = {name: _strongly(each) for name, each in self.bindings.items()}
        return {name: value for name, value in found.items() if value is not _GONE}


@dataclass(frozen=True, slots=True)
class _Weak:
    """A value that the notebook may give up meanwhile."""

    value: weakref.ref[Any]


def bindings_of(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bindings of a namespace for a long run, which must not keep large values alive."""
    return {name: _weakly(value) for name, value in namespace.items()}


def _weakly(value: Any) -> Any:
    try:
        return _Weak(weakref.ref(value))
    except TypeError:
        return value


def _strongly(binding: Any) -> Any:
    """Return the value of a binding; `_GONE`: it no longer exists."""
    if type(binding) is not _Weak:
        return binding
    value = binding.value()
    return _GONE if value is None else value


def _is(now: Any, then: Any) -> bool:
    return now is (then.value() if type(then) is _Weak else then)


def bind_again(newer: Mapping[str, Any], namespace: dict[str, Any]) -> tuple[str, ...]:
    """Bind names again to the values of `OpenRun.rebound`, after an answer; return the names that it had bound."""
    of_modules = {name: value for name, value in newer.items() if place_in(name) is not None and value is not _GONE}
    now = {**namespace, **own_modules().values_at(of_modules)}
    kept = [name for name in newer if now.get(name, _GONE) is not newer[name]]
    for name in kept:
        if name in of_modules:
            own_modules().assign(name, newer[name])
        elif newer[name] is not _GONE:
            namespace[name] = newer[name]
        elif name in namespace:
            del namespace[name]
    return tuple(sorted(map(shown_place, kept)))


class Sender(Protocol):
    """The part of `session.facade.Session` that settles runs."""

    name: str
    machine: Machine
    namespace: dict[str, Any]
    generation: str | None
    open_run: OpenRun | None
    values: Values
    files: Files
    modules: LocalModules
    versions: Versions
    process: ProcessState
    status: Status
    store: SharedStore | None
    restores_any: bool
    history: list[RunTrace]

    @property
    def app(self) -> OpenApp | None:
        """The session's App, if it is open."""

    def forget(self) -> tuple[str, ...]:
        """Discard the state of an ended container, so that values are sent again; return the names of lost values."""

    def container_ended(self) -> None:
        """Note the end of the container: the next one goes on with its saved state, if there is one."""

    def discard_dead_app(self, say: Callable[[str], None]) -> None:
        """Discard an App that can no longer run cells, and say what was lost."""

    def fetch(self, wanted: str | RemoteValue) -> Any:
        """Return a value that stayed in the container."""

    def free_buffers(self) -> None:
        """Free the shared memory of the values that have been received."""

    def taken_over(self, words: str) -> None:
        """Note that another kernel has the session; `words` say so."""

    def check_owner(self, app: OpenApp | None) -> None:
        """Check that no other kernel has the session."""


@unwarned()
def receive(session: Sender, finished: FinishedRun) -> CellResult:
    """Apply the answer of a finished run. Without one: keep the run open, or discard the run or the container."""
    run = session.open_run
    try:
        return _receive(session, finished, run)
    finally:
        if run is not None:
            run.follower = None


def _receive(session: Sender, finished: FinishedRun, run: OpenRun | None) -> CellResult:
    ended = finished.ended
    if isinstance(ended.lost, TakenOver):
        session.taken_over(str(ended.lost))
        return CellResult()
    if run is not None and not may_go_on(ended):
        finished.app.reported(run.run, answered=ended.answer is not None and ended.answer.need is None)
    if ended.answer is not None and ended.answer.need is None and run is not None:
        return apply_answer(session, run, ended.answer)
    if ended.answer is None and ended.never_began:
        session.open_run = None
    elif not may_go_on(ended):
        session.container_ended()
        session.status.meter.ends(ended.ended_at)
    elif run is not None:
        run.bindings.update(session.values.variables)
    return CellResult()


def may_go_on(ended: Ended) -> bool:
    """Whether a run may go on of which the kernel hears no more: it was stopped or given up without an answer."""
    if ended.answer is not None or ended.terminated or ended.never_began:
        return False
    return ended.stopped or is_out_of_reach(ended.lost) or isinstance(ended.lost, TakenOver)


@unwarned()
def receive_beside(
    session: Sender, finished: FinishedRun, run: OpenRun, name: str, say: Callable[[str], None]
) -> CellResult:
    """Apply the end of a background run, beside which the notebook went on, as a late answer is applied.

    A run that is no longer open has lost its container, and all that it changed: the session was stopped.
    """
    if session.open_run is not run:
        return CellResult()
    answer = finished.ended.answer
    if answer is None or answer.need is not None:
        return receive(session, finished)
    applied = _apply_beside(session, run, answer)
    finished.app.reported(run.run, answered=True)
    if applied.kept:
        say(KEPT_BESIDE.format(name, ", ".join(applied.kept)))
    if applied.lost:
        say(LOST_BESIDE.format(name, ", ".join(applied.lost)))
    return applied.result


@dataclass(frozen=True, slots=True)
class _AppliedBeside:
    """An answer that came after the notebook had gone on.

    Attributes:
        result: the result of the cell.
        kept: names that the notebook has bound since, which keep their values.
        lost: names whose values the notebook has changed in place since, and the answer has replaced.
    """

    result: CellResult
    kept: tuple[str, ...]
    lost: tuple[str, ...]


def _apply_beside(session: Sender, run: OpenRun, answer: Answer) -> _AppliedBeside:
    """Apply an answer beside which the notebook went on."""
    newer = run.rebound(session.values.variables)
    conflicts = Conflicts.between(answer, run.outgoing.looked, run.then, session.values.marks)
    result = apply_answer(session, run, answer, late=True)
    kept = bind_again(newer, session.namespace)
    return _AppliedBeside(result, kept, conflicts.lost())


def apply_answer(session: Sender, run: OpenRun, answer: Answer, *, late: bool = False) -> CellResult:
    """Record that the container has the sent values, and write the values that the run changed into the notebook.

    `late`: the notebook went on before the answer; process state that the notebook has changed since stays.
    """
    if session.machine.nodes == 1:
        session.generation = answer.generation
    session.history[:] = traced(session.history, answer.saved_run, RunTrace(run.run, run.changes))
    session.values.sent(run.outgoing, run.packed)
    session.files.arrived(answer.refused)
    session.files.note_written(path for path, _ in answer.wrote)
    session.files.follow(answer.directory)
    session.modules.arrived()
    session.versions.arrived()
    session.process.arrived(answer.states, late=late)
    store = session.store or InlineStore(dict(answer.values.inline) if answer.values else {})
    unlike = session.versions.unlike(answer.versions, session.machine)
    result = take_in(session, partial(session.values.incoming, answer, store, session.fetch, run.count, unlike))
    session.open_run = None
    if session.machine.nodes == 1:  # a slower node of a cluster may not have read its values yet
        session.free_buffers()
    return result


def take_in(session: Sender, incoming: Callable[[], T]) -> T:
    """Bind values that the container has sent, and return what `incoming` returns.

    Raises:
        TakenOver: the values are gone, since another kernel has the session: its attach frees them.
        TransferError: the values are gone or damaged, and the session is this kernel's.
    """
    try:
        with whole():
            return incoming()
    except TransferError as error:
        missing = error
    session.check_owner(session.app)
    raise missing


def traced(history: list[RunTrace], saved: str, ended: RunTrace) -> list[RunTrace]:
    """Return the runs that a saved state may be of: the saved one, if it is known, and the one that has ended.

    No state of a run between the two can exist, since the container had saved none when the last one ended: that one
    has the changes of all after the saved one.
    """
    found = next((number for number, each in enumerate(history) if each.run == saved), -1)
    later = [each.names for each in (*history[found + 1 :], ended)]
    names = None if None in later else frozenset().union(*(each for each in later if each is not None))
    return [*history[max(found, 0) : found + 1], RunTrace(ended.run, names)]


def settle(session: Sender, front: Front, inbox: Inbox) -> None:
    """Ask the container how the open run ended, and apply its answer.

    A run that another thread follows has not been stopped: its end is waited for, which that thread applies.

    Raises:
        KeyboardInterrupt: ■ was pressed; the run stays open.
        ModalGpuError: the request to the container failed.
    """
    run = _unfollowed(session)
    app = session.app
    if run is None or app is None:
        return
    answers: list[Answer | None] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(app.ended(run.run))
        except BaseException as error:  # noqa: BLE001 - raised again on the cell's thread
            errors.append(error)
        inbox.put(("answered", None))

    threading.Thread(target=ask, name="modal-gpu-settle", daemon=True).start()
    while not answers and not errors:
        if inbox.get()[0] == "press":
            raise stopped("stopped before the cell was sent; the cell did not run")
    if errors and (app.closed or app.is_ended):
        session.discard_dead_app(front.say)
        return
    if errors:
        raise errors[0]
    with run.lock:
        if session.open_run is run:  # else it was settled, or given up with its container, meanwhile
            apply_late_answer(session, run, answers[0], front.say)


def _unfollowed(session: Sender) -> OpenRun | None:
    """Return the open run, once no other thread waits for its end."""
    while (run := session.open_run) is not None and run.is_followed_elsewhere:
        time.sleep(FOLLOWED_SECONDS)
    return run


def apply_late_answer(session: Sender, run: OpenRun, answer: Answer | None, say: Callable[[str], None]) -> None:
    """Apply the answer to an open run. Names that the notebook has bound since the stop keep their values."""
    if answer is None or answer.need is not None:
        session.open_run = None
        return
    session.status.meter.lives(
        time.time() - (answer.made_at - answer.booted_at), generation=answer.container or answer.generation
    )
    applied = _apply_beside(session, run, answer)
    if session.app is not None:
        session.app.reported(run.run, answered=True)
    if (answer.values and answer.values.names) or answer.gone or answer.stays or answer.imported:
        kept, lost = ", ".join(applied.kept), ", ".join(applied.lost)
        more = KEPT_MESSAGE.format(kept) if kept else "", LOST_MESSAGE.format(lost) if lost else ""
        say(" ".join(filter(None, (BEGAN_MESSAGE, *more))))
