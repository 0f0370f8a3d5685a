"""A run whose answer is missing: what was sent, and how both sides come to agree before anything else crosses.

Once a run has been sent, the container alone knows whether the cell ran. A stop that gives the prompt back before the
container has said so leaves the run open; the next remote cell, or fetch, asks the container first. The container keeps
its last answer; a run that it has not begun by then it never begins.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from modal_gpu_magic.session.run.interrupts import stopped, whole
from modal_gpu_magic.session.values.sync import CellResult, Outgoing
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.pickles.silent_warnings import unwarned
from modal_gpu_magic.wire.transfer import Packed

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.app import OpenApp
    from modal_gpu_magic.session.project.modules import LocalModules
    from modal_gpu_magic.session.project.sent_files import Files
    from modal_gpu_magic.session.run.conclude import FinishedRun
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.run.status import Status
    from modal_gpu_magic.session.values.process_state import ProcessState
    from modal_gpu_magic.session.values.sync import Values
    from modal_gpu_magic.session.values.versions import Versions
    from modal_gpu_magic.wire.buffers.stores import SharedStore
    from modal_gpu_magic.wire.messages.events import Answer

BEGAN = "The cell that was stopped before had begun: what it changed until then is in effect now."
KEPT = "Names bound in this kernel since then keep their values: {}."
_GONE: Any = object()


@dataclass(slots=True)
class OpenRun:
    """A run that has been sent and not been settled.

    Attributes:
        run: its name. outgoing, packed: what was sent with it. count: the cell's number.
        bindings: what the names were bound to here when the cell was stopped.
    """

    run: str
    outgoing: Outgoing
    packed: Packed
    count: int
    bindings: dict[str, Any] = field(default_factory=dict)

    def rebound(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """The names that were bound to something else here since the stop, or deleted (`_GONE`)."""
        if not self.bindings:  # the answer came, and could not be taken in as a whole
            return {}
        names = self.bindings.keys() | namespace.keys()
        then, now = self.bindings, namespace
        return {name: now.get(name, _GONE) for name in names if now.get(name, _GONE) is not then.get(name, _GONE)}


class Sender(Protocol):
    """What a session has for the settling of its runs; see `session.facade.Session`."""

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

    @property
    def app(self) -> OpenApp | None:
        """The session's App, if it is open."""

    def forget(self) -> tuple[str, ...]:
        """The container is gone: what was sent is sent again."""

    def fetch(self, name: str) -> Any:
        """Bring a value here that stayed in the container."""


@unwarned()
def come_home(session: Sender, finished: FinishedRun) -> CellResult:
    """A run is over: take in its answer. Without one, the run stays open, or nothing was changed, or all is lost."""
    ended, run = finished.ended, session.open_run
    if ended.answer is not None and ended.answer.need is None and run is not None:
        return take_in(session, run, ended.answer)
    if ended.answer is None and ended.never_began:
        session.open_run = None
    elif ended.answer is not None or ended.terminated or not ended.stopped:
        session.forget()
        session.status.meter.ends()
    elif run is not None:
        run.bindings.update(session.namespace)
    return CellResult()


def take_in(session: Sender, run: OpenRun, answer: Answer) -> CellResult:
    """The container has run this: both sides have what was sent, and this one gets what the run changed."""
    if session.machine.nodes == 1:
        session.generation = answer.generation
    session.values.sent(run.outgoing, run.packed)
    session.files.arrived(answer.refused)
    session.modules.arrived()
    session.versions.arrived()
    session.process.arrived(answer.states)
    session.status.meter.lives(answer.booted_at)
    store = session.store or InlineStore(dict(answer.values.inline) if answer.values else {})
    unlike = session.versions.unlike(answer.versions, session.machine)
    with whole():
        home = session.values.incoming(answer, store, session.fetch, run.count, unlike)
    session.open_run = None
    return home


def settle(session: Sender, front: Front, inbox: Inbox) -> None:
    """Ask the container how the open run ended, and take in what the run changed.

    Raises:
        KeyboardInterrupt: \u25a0 was pressed meanwhile; the run stays open.
        ModalGpuError: the container cannot be asked.
    """
    run = session.open_run
    app = session.app
    if run is None or app is None:
        return
    answers: list[Answer | None] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(app.ended(session.name, run.run))
        except BaseException as error:  # noqa: BLE001 - raised again on the cell's thread
            errors.append(error)
        inbox.put(("answered", None))

    threading.Thread(target=ask, name="modal-gpu-settle", daemon=True).start()
    while not answers and not errors:
        if inbox.get()[0] == "press":
            raise stopped("stopped before the cell was sent; the cell did not run")
    if errors:
        raise errors[0]
    take_late(session, run, answers[0], front.say)


def take_late(session: Sender, run: OpenRun, answer: Answer | None, say: Callable[[str], None]) -> None:
    """Take in the answer to an open run. What was bound here since the stop is newer, and stays."""
    if answer is None or answer.need is not None:
        session.open_run = None
        return
    newer = run.rebound(session.namespace)
    take_in(session, run, answer)
    kept = [name for name in newer if session.namespace.get(name, _GONE) is not newer[name]]
    for name in kept:
        if newer[name] is _GONE:
            del session.namespace[name]
        else:
            session.namespace[name] = newer[name]
    if (answer.values and answer.values.names) or answer.gone or answer.stays or answer.imported:
        say(BEGAN + (f" {KEPT.format(', '.join(sorted(kept)))}" if kept else ""))
