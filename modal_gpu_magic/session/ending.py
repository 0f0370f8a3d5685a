"""How a run ends for the notebook: its receipt is shown, then its error is raised, or its result returned."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic import __version__
from modal_gpu_magic.catalog.prices import PRICE_DATE
from modal_gpu_magic.errors import BackendLost, CellTimeout, ContainerLost, MachineError, RemoteError, TransferError
from modal_gpu_magic.plan.machine import KERNEL_PYTHON, specs_text
from modal_gpu_magic.sdk.app import OpenApp
from modal_gpu_magic.session.hints import hint, memory_hint
from modal_gpu_magic.session.presses import stopped
from modal_gpu_magic.session.pump import Ended
from modal_gpu_magic.session.receipt import Outcome, Receipt
from modal_gpu_magic.session.sizing import Sizing, sizing
from modal_gpu_magic.session.values import Outgoing
from modal_gpu_magic.session.watch import health_words
from modal_gpu_magic.wire.buffers import InlineStore
from modal_gpu_magic.wire.events import Event, Failure
from modal_gpu_magic.wire.pickles.unwarned import unwarned
from modal_gpu_magic.wire.transfer import Packed, unpack

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine import Machine
    from modal_gpu_magic.session.cell import Cell
    from modal_gpu_magic.session.front import Front
    from modal_gpu_magic.session.session import Session
    from modal_gpu_magic.session.values import Homecoming


@dataclass(frozen=True, slots=True)
class Told:
    """A run that is over: where it was, how it ended, what was sent."""

    app: OpenApp
    ended: Ended
    outgoing: Outgoing
    packed: Packed | None = None


_ENDED = "its container was ended, and its variables with it"
_STOPPED = {
    (True, True): _ENDED,
    (True, False): _ENDED,
    (False, True): "stopped before the cell began; the cell did not run",
    (False, False): "stopped before the cell was seen to begin; should it have begun, the next remote cell says so",
}
"""By whether the container was ended, and whether it is certain that the cell did not begin."""


def never_ran(ended: Ended) -> bool:
    """Whether nothing of the user's ran, so that the run may be sent again: its container was another, or died before.

    Raises:
        MachineError: the container has another version of this package, or of Python, and will have it again.
    """
    need = ended.answer.need if ended.answer else None
    if need is not None and need.reason == "version":
        raise MachineError(
            f"the container has modal_gpu_magic {need.version}, this kernel {__version__}: "
            "restart the kernel, so that both have the same."
        )
    if need is not None and need.reason == "python":
        raise MachineError(
            f"the image has Python {need.version}, and this notebook {KERNEL_PYTHON}: functions cross as byte code, "
            f"which another minor cannot run. Build the image with Python {KERNEL_PYTHON}, "
            f'such as modal.Image.debian_slim("{KERNEL_PYTHON}").'
        )
    if need is not None or ended.lost is None or ended.began or ended.stopped:
        return need is not None
    return is_gone(ended.lost) or isinstance(_translated(ended.lost), ContainerLost)


def failed(ended: Ended) -> bool:
    """Whether the cell, or its container, failed by itself."""
    answer = ended.answer
    by_itself = not (ended.stopped or ended.timed_out or (answer and answer.timed_out))
    return by_itself and (ended.lost is not None or (answer is not None and answer.failure is not None))


def is_gone(error: BaseException | None) -> bool:
    """Whether Modal no longer has the App: it ends one whose kernel sent no heartbeat, as when the computer slept."""
    return type(error).__name__ in ("NotFoundError", "ConflictError")


def conclude(session: Session, told: Told, cell: Cell, home: Homecoming, front: Front) -> Homecoming:
    """Show the receipt, then raise what the run ended with, or return what it brought.

    Raises:
        Exception: the cell's own. KeyboardInterrupt: it was stopped. RunError: it did not end by itself.
    """
    error = _error(session, told.app, cell, told.ended, front)
    for line in session.versions.news(told.ended.answer.versions, session.machine) if told.ended.answer else ():
        front.say(line)
    failed = told.ended.answer.failed if told.ended.answer and not isinstance(error, TransferError) else {}
    for name, why in failed.items():
        front.say(f"`{name}` could not be made there: {why}.")
    sized = sizing(session, told.app.backend.kind, told.ended.answer)
    if error is not None:
        asked = session.machine.gpus[0] if session.machine.gpus else None
        words = hint(error, session.namespace, told.outgoing.held, session.files.project)
        words = words or memory_hint(error, sized, asked, cell.line)
        if words:
            front.say(words)
    receipt = _receipt(session, told, home, error, sized)
    session.meter.outcome = receipt.outcome
    session.metrics.tell()
    front.finished(receipt)
    if error is not None:
        raise error
    return home


def _error(session: Session, app: OpenApp, cell: Cell, ended: Ended, front: Front) -> BaseException | None:
    if ended.timed_out or (ended.answer and ended.answer.timed_out):
        return _timeout(cell, survives=not ended.terminated)
    if ended.answer is not None and ended.answer.need is not None and not ended.stopped:
        return MachineError("the container was replaced again and again before the cell could start; run it once more.")
    if ended.answer is not None and ended.answer.need is None:
        return own_error(ended.answer.failure, session.namespace) if ended.answer.failure else None
    if ended.stopped:
        if ended.terminated and app.backend.kind == "cloud":
            app.close_soon()  # nobody has seen `terminate` after a cancel at Modal; this ends the container for sure
        return stopped(_STOPPED[ended.terminated, ended.never_began])
    if ended.words:  # faulthandler's stack, a CUDA assertion
        front.event(Event(-1, "stream", {"name": "stderr", "text": ended.words}))
        for line in health_words(session.metrics.faults(ended.words)):
            front.say(line)
    error = _translated(ended.lost) if ended.lost else BackendLost("the run ended without an answer.")
    return _timeout(cell, survives=False) if isinstance(error, CellTimeout) else error


def _translated(error: BaseException) -> BaseException:
    from modal_gpu_magic.sdk.faults import translate

    return translate(error)


def _timeout(cell: Cell, *, survives: bool) -> CellTimeout:
    kept = "Its variables are kept" if survives else "It did not react, so its container was ended with its variables"
    limit = cell.timeout or 0
    return CellTimeout(
        f"the cell ran into its timeout of {limit:g} s. {kept}; give it more with --timeout, e.g. --timeout 2h."
    )


@unwarned()
def own_error(failure: Failure, namespace: dict[str, Any]) -> BaseException:
    """The cell's own exception, rendering its own traceback; a stand-in of the same name if its class is not here."""
    error = None
    if failure.exception is not None:
        store = InlineStore(dict(failure.exception.inline))
        error = unpack(failure.exception, namespace, store).values.get("error")
    if not isinstance(error, BaseException):
        error = type(failure.ename, (RemoteError,), {"__module__": "__main__"})(failure.evalue)
    lines = list(failure.traceback)
    if not lines:  # IPython shows this kind without a traceback, where it is raised: UsageError, SystemExit
        return error
    try:
        error._render_traceback_ = lambda: lines  # type: ignore[union-attr]  # IPython's own hook for such errors
    except AttributeError:  # a class with __slots__
        sys.stderr.write("\n".join(lines) + "\n")
    return error


def _receipt(session: Session, told: Told, home: Homecoming, error: BaseException | None, sized: Sizing) -> Receipt:
    app, ended = told.app, told.ended
    answer = ended.answer
    booted_here = answer is not None and answer.booted_at > ended.spawned_at
    arrived = answer.booted_at if answer and booted_here else answer.started_at if answer else None
    return Receipt(
        outcome=_outcome(ended, error),
        asked=_of_all(session.machine, specs_text(session.machine.gpus) or "CPU"),
        backend=app.backend.kind,
        simulated=sized.simulated,
        waited=max(0.0, arrived - ended.spawned_at) if arrived else None,
        started=max(0.0, answer.started_at - answer.booted_at) if answer and booted_here else None,
        ran=answer.ended_at - answer.started_at if answer else None,
        hourly=sized.hourly,
        idle_seconds=session.machine.scaledown if answer else 0,
        ended_at=time.time(),
        price_date=PRICE_DATE,
        sent_bytes=told.outgoing.nbytes,
        came_bytes=answer.values.nbytes if answer and answer.values else 0,
        stays=home.stays,
        wrote=answer.wrote if answer else (),
        session=session.name,
        got=_of_all(session.machine, str(sized.got)) if sized.got else None,
        uses=session.metrics.run.uses,
        advice=sized.advice,
    )


def _of_all(machine: Machine, node: str) -> str:
    return f"{machine.nodes} x {node}" if machine.nodes > 1 else node


def _outcome(ended: Ended, error: BaseException | None) -> Outcome:
    if isinstance(error, CellTimeout):
        return "timed out"
    if ended.answer is None:
        return "stopped" if ended.stopped else "lost"
    if error is None:
        return "done"
    return "stopped" if ended.stopped else "failed"
