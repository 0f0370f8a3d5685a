"""End a run in the notebook: show its receipt, then raise its error or return its result."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from modal_gpu_magic._version import __version__
from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.errors import (
    AnswerLost,
    BackendLost,
    CellTimeout,
    ContainerLost,
    GivenUp,
    KernelEnds,
    MachineError,
    ModalGpuError,
    RemoteError,
    SessionEnded,
    SetupError,
    TransferError,
)
from modal_gpu_magic.plan.machine.build_failure import explain_install
from modal_gpu_magic.plan.machine.definition import KERNEL_PYTHON, Machine, specs_text
from modal_gpu_magic.plan.machine.quote import worst_words
from modal_gpu_magic.sdk.app import OpenApp
from modal_gpu_magic.sdk.faults import GONE, has_app_ended, is_out_of_reach, translate
from modal_gpu_magic.session.project.root import Project
from modal_gpu_magic.session.run.hints import hint, memory_hint
from modal_gpu_magic.session.run.interrupts import stopped
from modal_gpu_magic.session.run.metrics import Metrics
from modal_gpu_magic.session.run.phases import seconds_of
from modal_gpu_magic.session.run.receipt import Outcome, Receipt
from modal_gpu_magic.session.run.run_end import Ended
from modal_gpu_magic.session.run.sizing import Sizing, sizing
from modal_gpu_magic.session.run.status import Status
from modal_gpu_magic.session.run.watch import health_words
from modal_gpu_magic.session.values.sync import Outgoing
from modal_gpu_magic.session.values.versions import Versions
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import Event, Failure, Need
from modal_gpu_magic.wire.messages.place_names import shown_place
from modal_gpu_magic.wire.transfer import Packed, unpack
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.values.sync import CellResult


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended.

    Attributes:
        app: the App that the run was in.
        ended: how the run ended.
        outgoing: the values that were sent.
        packed: the transfer of these values.
        session: the session's name.
        machine: the session's machine.
        namespace: the notebook's variables.
        project: the project that the notebook belongs to.
        metrics: the readings of the session's GPUs.
        status: the session's status.
        versions: package versions in the kernel and in the container.
    """

    app: OpenApp
    ended: Ended
    outgoing: Outgoing
    packed: Packed
    session: str
    machine: Machine
    namespace: dict[str, Any]
    project: Project
    metrics: Metrics
    status: Status
    versions: Versions


_ENDED = "its container was ended, and its variables with it"
_ENDED_SAVED = "its container was ended; the next cell goes on with the variables as they were last saved"
_SAVED = "The next cell starts a new container, with the variables as they were last saved."
_STOPPED = {
    (True, True): _ENDED,
    (True, False): _ENDED,
    (False, True): "stopped before the cell began; the cell did not run",
    (False, False): "stopped before the cell was seen to begin; should it have begun, the next remote cell says so",
}
"""Messages of a stopped run, by whether the container was terminated and whether the cell certainly did not run."""


def never_ran(ended: Ended) -> bool:
    """Whether no user code ran, so that the run can be sent again: a new container answered, or it crashed early.

    Raises:
        MachineError: the container has another version of this package or of Python, and a new one would have the same.
    """
    need = ended.need
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
    return has_app_ended(ended.lost) or isinstance(translate(ended.lost), ContainerLost)


def packages_error(need: Need, machine: Machine) -> MachineError:
    """Return the error of a run whose packages could not be installed."""
    return MachineError(explain_install(need.why.get("", ""), machine, need.packages))


def failed(ended: Ended) -> bool:
    """Whether the cell or its container failed without a stop or a timeout."""
    answer = ended.answer
    by_itself = not (ended.stopped or ended.timed_out or (answer and answer.timed_out))
    return by_itself and (ended.lost is not None or (answer is not None and answer.failure is not None))


def conclude(run: FinishedRun, cell: Cell, result: CellResult, front: Front) -> CellResult:
    """Show the receipt, then raise the run's error or return its result.

    Raises:
        Exception: the exception that the cell raised.
        KeyboardInterrupt: the run was stopped.
        RunError: the run timed out, or its container was lost.
    """
    error = _error(run, cell, front)
    answer = run.ended.answer
    for line in run.versions.news(answer.versions, run.machine) if answer else ():
        front.say(line)
    failed = answer.failed if answer and not isinstance(error, TransferError) else {}
    for name, why in failed.items():
        front.say(f"`{shown_place(name)}` could not be loaded in the container: {why}.")
    sized = sizing(run.machine, run.metrics, run.app.backend.kind, answer)
    if error is not None:
        asked = run.machine.gpus[0] if run.machine.gpus else None
        words = hint(error, run.namespace, run.outgoing.withheld, run.project)
        words = words or memory_hint(error, sized, asked, cell.line, run.machine.region)
        if words:
            front.say(words)
    receipt = _receipt(run, cell, result, error, sized)
    run.status.concluded(receipt.outcome, sized.billed.name if sized.billed else "")
    for line in run.status.book.news():
        front.say(line)
    front.finished(receipt)
    if error is not None:
        raise error
    return result


def _error(run: FinishedRun, cell: Cell, front: Front) -> BaseException | None:
    ended = run.ended
    if ended.timed_out or (ended.answer and ended.answer.timed_out):
        over = ended.answer.over if ended.answer else cell.budget
        return _timeout(cell, run.machine, over, survives=not ended.terminated)
    if ended.need is not None and not ended.stopped:
        return MachineError("the container was replaced again and again before the cell could start; run it once more.")
    if ended.answer is not None and ended.answer.need is None:
        return own_error(ended.answer.failure, run.namespace) if ended.answer.failure else None
    if ended.stopped:
        return _stopped(run)
    if ended.words:  # faulthandler's stack, a CUDA assertion
        front.event(Event(-1, "stream", {"name": "stderr", "text": ended.words}))
        for line in health_words(run.metrics.faults(ended.words)):
            front.say(line)
    if _is_left(run):
        return _left(ended.lost, run.session)
    error = _lost(run)
    if isinstance(error, ContainerLost) and run.machine.saves:
        error = ContainerLost(str(error).replace(GONE, _SAVED))
    return _timeout(cell, run.machine, cell.budget, survives=False) if isinstance(error, CellTimeout) else error


def _lost(run: FinishedRun) -> BaseException:
    """Return the error of a run that was lost with its container or with the connection."""
    lost = run.ended.lost
    if has_app_ended(lost) and not isinstance(lost, SessionEnded):
        who = "the App and its container were ended" if run.machine.detach else "Modal ended the App and its container"
        error: BaseException = ContainerLost(f"{who} before the cell had ended. {GONE}")
        error.__cause__ = lost
        return error
    return translate(lost) if lost else BackendLost("the run ended without an answer.")


def _stopped(run: FinishedRun) -> KeyboardInterrupt:
    """Return the error of a stopped run that has no answer."""
    app, ended = run.app, run.ended
    if isinstance(ended.lost, AnswerLost):
        return stopped(f"stopped; {ended.lost}")
    if ended.terminated and app.backend.kind == "cloud":
        app.terminate_soon()  # whether Modal honours `terminate` after a cancel is untested
    words = _STOPPED[ended.terminated, ended.never_began]
    return stopped(_ENDED_SAVED if words is _ENDED and run.machine.saves else words)


def _is_left(run: FinishedRun) -> bool:
    """Whether a run of a detached session goes on without this kernel."""
    ended = run.ended
    return run.machine.detach and ended.answer is None and not ended.never_began and is_out_of_reach(ended.lost)


def _left(lost: BaseException | None, session: str) -> ModalGpuError:
    """Return the error of a run that goes on without this kernel."""
    if isinstance(lost, KernelEnds):
        return lost
    back = f"`%modal_gpu attach {session}` shows all of it"
    if isinstance(lost, GivenUp):
        return GivenUp(lost.lost, f"The run does not need this notebook: {back} once the connection is back.")
    return SetupError(
        f"Modal refused the token ({lost}), and the run does not need this notebook: run `modal setup` in a "
        f"terminal, restart the kernel, and {back}."
    )


def _timeout(cell: Cell, machine: Machine, budget: str, *, survives: bool) -> CellTimeout:
    """Return the error of a run that was stopped at its timeout, or at a budget: its words, else empty."""
    lost = "its variables are as they were last saved" if machine.saves else "its variables are lost"
    kept = "its variables are kept" if survives else f"it did not react, so its container ended, and {lost}"
    if budget:
        return CellTimeout(
            f"the cell reached {budget}; {kept}. Raise it by %config ModalGpu.{budget.partition(' ')[0]}."
        )
    limit = cell.timeout or 0
    return CellTimeout(f"the cell reached its timeout of {limit:g} s; {kept}. Set a longer one, such as --timeout 2h.")


@unwarned()
def own_error(failure: Failure, namespace: dict[str, Any]) -> BaseException:
    """The cell's exception with its own traceback; a RemoteError of its name if the kernel lacks or cannot show it."""
    error = None
    if failure.exception is not None:
        store = InlineStore(dict(failure.exception.inline))
        error = unpack(failure.exception, namespace, store).values.get("error")
    if not isinstance(error, BaseException) or not _has_words(error):
        error = type(failure.ename, (RemoteError,), {"__module__": "__main__"})(failure.evalue)
    lines = list(failure.traceback)
    if not lines and isinstance(error, SystemExit | UsageError):  # IPython shows these in its own way
        return error
    lines = lines or [f"{failure.ename}: {failure.evalue}"]
    try:
        error._render_traceback_ = lambda: lines  # type: ignore[union-attr]  # IPython's own hook for such errors
    except AttributeError:  # a class with __slots__
        sys.stderr.write("\n".join(lines) + "\n")
    return error


def _has_words(error: BaseException) -> bool:
    """Whether a kernel can show an error: its `__str__`, code of the user's, may fail or return a lone surrogate."""
    try:
        str(error).encode()
    except Exception:  # noqa: BLE001 - user code may raise anything
        return False
    return True


def _receipt(run: FinishedRun, cell: Cell, result: CellResult, error: BaseException | None, sized: Sizing) -> Receipt:
    app, ended = run.app, run.ended
    answer, meter = ended.answer, run.status.meter
    meter.price(sized.hourly)
    phases = meter.phases
    return Receipt(
        outcome=_outcome(ended, error),
        asked=_of_all(run.machine, specs_text(run.machine.gpus) or "CPU"),
        backend=app.backend.kind,
        simulated=sized.simulated,
        waited=seconds_of(phases, "waiting"),
        started=seconds_of(phases, "starting"),
        ran=seconds_of(phases, "running"),
        hourly=sized.hourly,
        idle_seconds=run.machine.scaledown if answer else _idle_seconds(run.status),
        is_left=_is_left(run),
        ended_at=time.time(),
        prices=rates.current().words,
        sent_bytes=run.packed.transfer.nbytes,
        received_bytes=answer.values.nbytes if answer and answer.values else 0,
        stays=result.stays,
        wrote=answer.wrote if answer else (),
        session=run.session,
        got=_of_all(run.machine, str(sized.got)) if sized.got else None,
        uses=run.metrics.run.uses,
        readings=run.metrics.run,
        advice=sized.advice,
        phases=phases,
        at_most=_at_most(run, cell) if run.machine.detach else "",
    )


def _at_most(run: FinishedRun, cell: Cell) -> str:
    """Return what a cell of a detached session costs at most, in words."""
    seconds, is_free = cell.timeout or FUNCTION_TIMEOUT, run.app.backend.kind == "local"
    return worst_words(run.machine.per_hour, seconds, run.machine.scaledown, is_free=is_free)


def _idle_seconds(status: Status) -> int:
    """Return how long the container stays idle after a run that was not sent; 0: no container runs."""
    until = status.standing.idle_until
    return 0 if until is None else max(0, round(until - time.time()))


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
