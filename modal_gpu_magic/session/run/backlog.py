"""The background cells of one session, which run in order: submit one, follow it on a thread, finish it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.plan.cell.facts import CellFacts
from modal_gpu_magic.session.app_opening import Opening
from modal_gpu_magic.session.run.background import BackgroundRun, clock
from modal_gpu_magic.session.run.cell import Cell
from modal_gpu_magic.session.run.error_frames import clear_frames
from modal_gpu_magic.session.run.front import BackgroundFront, State
from modal_gpu_magic.session.run.interrupts import Inbox, stopped
from modal_gpu_magic.session.run.main_thread import MAIN_THREAD
from modal_gpu_magic.session.run.settling import OpenRun
from modal_gpu_magic.session.values.snapshot import Snapshot
from modal_gpu_magic.session.values.sync import CellResult
from modal_gpu_magic.wire.messages.events import Request, Spending
from modal_gpu_magic.wire.messages.segments import code_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from modal_gpu_magic.session.run.background import Doing
    from modal_gpu_magic.session.run.conclude import FinishedRun
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.receipt import Receipt
    from modal_gpu_magic.wire.buffers.stores import SharedStore
    from modal_gpu_magic.wire.inspection.marks import Group

UPDATE_SECONDS = 1.0
"""Seconds between two updates of the status of a cell that waits."""
SESSION_STOPPED = "the session was stopped before the cell ran."
WITHDRAWN = "cancelled before the cell ran"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A background cell whose values have been packed.

    Attributes:
        cell: the cell.
        facts: what its source says.
        opening: the App in which it runs.
        request: the request to the container, complete but for the store of an App that is not open yet.
        run: the run.
    """

    cell: Cell
    facts: CellFacts
    opening: Opening
    request: Request
    run: OpenRun

    def delivered(self, store: SharedStore | None) -> Request:
        """Return the request with its large buffers in the store, into which those of the message move."""
        if store is None or self.request.store is not None:
            return self.request
        values = self.request.values
        for key, content in values.inline.items():
            store.put(memoryview(content), key, keep=values.inline.keys())
        return replace(self.request, values=replace(values, inline={}), store=str(store.directory))

    def numbered(self, run: str) -> Submitted:
        """Return the same cell under another id: Modal gets each sending once."""
        self.run.run = run
        return replace(self, request=replace(self.request, run=run))

    def changed(self, groups: Iterable[Group]) -> tuple[str, ...]:
        """Return the names whose values differ from those that were submitted."""
        now = {group.names: group.print for group in groups}
        then = {group.names: group.print for group in self.run.outgoing.looked}
        different = [names for names in then if not _is_same(then[names], now.get(names))]
        return tuple(sorted({name for names in different for name in names}))


def _is_same(one: Any, other: Any) -> bool:
    return one is None or (other is not None and one.stream == other.stream)


class Sender(Protocol):
    """The part of `session.facade.Session` that runs background cells."""

    def snapshot(self, cell: Cell) -> Snapshot:
        """Copy the values that a cell reads."""

    def submit(self, cell: Cell, front: Front, run: Inbox, presses: Inbox, snapshot: Snapshot | None) -> Submitted:
        """Read and pack the values of a cell; `run` gets the messages of its run, `presses` those of ■ until then."""

    def follow(self, sent: Submitted, front: Front, inbox: Inbox) -> tuple[Submitted, FinishedRun]:
        """Send a cell and take in all that happens to its run."""

    def finish(self, sent: Submitted, finished: FinishedRun, front: Front) -> CellResult:
        """Write the values of a cell into the notebook."""

    def withdraw(self, sent: Submitted) -> None:
        """Close a run that was not sent, or whose end is not known."""

    def queue_changed(self) -> None:
        """Note that other cells wait than before."""

    def awaits_end(self, then: Callable[[], None]) -> bool:
        """Wait in a thread for the end of a run that was stopped, then call `then` on the main thread.

        Returns:
            False: no such run is open, or the container has said how it ended.
        """


@dataclass(slots=True, eq=False)
class Job:
    """A background cell that waits or runs.

    Attributes:
        cell: the cell.
        front: shows the run.
        run: the course of the run.
        ended: called on the main thread with the result of the cell, when its values are in the notebook.
        spending: returns what the cell may cost when it starts, which for a queued cell is later; None: no budget.
        snapshot: the values that a queued cell is to see; None: the cell was not queued.
        sent: the cell with its packed values; None: it waits.
        is_abandoned: the session was stopped.
    """

    cell: Cell
    front: BackgroundFront
    run: BackgroundRun
    ended: Callable[[CellResult | None], None]
    spending: Callable[[], Spending | None] = lambda: None
    snapshot: Snapshot | None = None
    sent: Submitted | None = None
    is_abandoned: bool = False


class Backlog:
    """The background cells of a session in order; the first one runs. All methods are called on the main thread."""

    def __init__(self, session: Sender) -> None:
        self._session = session
        self._jobs: list[Job] = []

    @property
    def runs(self) -> tuple[BackgroundRun, ...]:
        """The runs that have not ended, in order."""
        return tuple(job.run for job in list(self._jobs))

    @property
    def words(self) -> str:
        """What a cell waits for: `train, running since 0:12`."""
        return words_of([job.run for job in self._jobs])

    @property
    def queued(self) -> tuple[str, ...]:
        """The first lines of the cells that wait, in order. Any thread may ask."""
        return tuple(code_line(job.cell.source) for job in list(self._jobs) if job.sent is None)

    def _ahead_of(self, job: Job) -> str:
        """What a queued cell waits for."""
        ahead = self._jobs[: self._jobs.index(job)] if job in self._jobs else self._jobs
        return words_of([other.run for other in ahead])

    def start(self, job: Job, presses: Inbox) -> None:
        """Start a cell, or queue it behind the cells that run.

        Args:
            job: the cell.
            presses: the presses of ■ while its values are read.

        Raises:
            TransferError: a value cannot be sent.
            KeyboardInterrupt: ■ was pressed; the cell does not run.
        """
        MAIN_THREAD.run_pending()
        if self._jobs:
            job.snapshot = self._session.snapshot(job.cell)
            job.run.withdraw = partial(self._withdraw, job)
            job.run.waits_for(self._jobs[0].run, partial(self._ahead_of, job))
            self._jobs.append(job)
            self._session.queue_changed()
            return
        self._jobs.append(job)
        try:
            self._launch(job, presses)
        except BaseException:
            self._jobs.remove(job)
            raise

    def wait(self, front: Front | None = None, inbox: Inbox | None = None) -> None:
        """Wait until all background cells have ended, and write their values into the notebook.

        Args:
            front: shows what is waited for; None: nothing is shown.
            inbox: gets the presses of ■; None: ■ raises KeyboardInterrupt by itself.

        Raises:
            KeyboardInterrupt: ■ was pressed; the background cells go on.
        """
        woken = Inbox() if inbox is None else inbox
        bell: Future[None] | None = None
        while self._jobs:
            if bell is None or bell.done():
                bell = MAIN_THREAD.bell()
                bell.add_done_callback(lambda _: woken.put(("opened", None)))
            MAIN_THREAD.run_pending()
            if not self._jobs:
                return
            if front is not None:
                names = ", ".join(job.run.name for job in self._jobs)
                front.show(State("queued", names, self._jobs[0].run.seconds, "", None, 0.0))
            with contextlib.suppress(queue.Empty):
                if woken.get(timeout=UPDATE_SECONDS)[0] == "press":
                    raise stopped(f"stopped while the cell waited for {self.words}; the cell did not run")

    def abandon(self) -> None:
        """Give up all cells, because the session is stopped. The one that runs ends as its App is closed."""
        for job in [job for job in self._jobs if job.sent is None]:
            self._jobs.remove(job)
            self._conclude(job, None, MachineError(SESSION_STOPPED))
        for job in self._jobs:
            job.is_abandoned = True
            if job.sent is not None and not job.sent.opening.ready:
                job.run.inbox.put(("press", None))  # the wait for the image ends

    def _launch(self, job: Job, presses: Inbox) -> None:
        job.run.withdraw = lambda: False
        job.sent = self._session.submit(job.cell, job.front, job.run.inbox, presses, job.snapshot)
        job.snapshot = None
        self._session.queue_changed()
        job.run.enters("running")
        MAIN_THREAD.runs += 1
        threading.Thread(target=self._follow, args=(job, job.sent), name="modal-gpu-background", daemon=True).start()

    def _follow(self, job: Job, sent: Submitted) -> None:
        """Follow a run to its end, in a thread; the main thread then takes in its values."""
        finished, failure = None, None
        try:
            sent, finished = self._session.follow(sent, job.front, job.run.inbox)
        except BaseException as error:  # noqa: BLE001 - shown in the cell's area and raised by `result`
            failure = error
        job.run.ends_there()
        MAIN_THREAD.call(partial(self._finish, job, sent, finished, failure))

    def _finish(self, job: Job, sent: Submitted, finished: FinishedRun | None, failure: BaseException | None) -> None:
        """Take in the values of a cell that has ended, on the main thread, between two cells; then start the next."""
        for other in self._jobs[1:]:
            if other.snapshot is not None:
                other.snapshot.note_changes()
        MAIN_THREAD.runs -= 1
        result = None
        try:
            if finished is None:
                self._session.withdraw(sent)
            else:
                result = self._session.finish(sent, finished, job.front)
        except BaseException as error:  # noqa: BLE001 - likewise
            failure = error
        finally:
            self._jobs.remove(job)
        for other in self._jobs:
            if other.snapshot is not None:
                other.snapshot.took_in()
        if job.is_abandoned and isinstance(failure, KeyboardInterrupt):
            failure = MachineError(SESSION_STOPPED)
        try:
            self._conclude(job, result, failure)
        finally:
            self._start_next()

    def _conclude(self, job: Job, result: CellResult | None, failure: BaseException | None) -> None:
        try:
            if failure is not None:
                clear_frames(failure)
                job.front.failed(failure)
            job.ended(result)
            if job.run.print_output is not None:
                job.run.print_output()
                MAIN_THREAD.before_cell.append(job.run.print_output)
        finally:  # the cell ends, whatever shows the end
            job.run.ends(_doing(job.run.receipt, failure), None if result is None else result.result, failure)

    def _start_next(self) -> None:
        while self._jobs and self._jobs[0].sent is None:
            job = self._jobs[0]
            for other in self._jobs[1:]:
                other.run.waits_for(job.run, other.run.ahead)
            if self._session.awaits_end(self._start_next):  # of the cell before, whose container may not have started
                return
            try:
                job.cell = replace(job.cell, spending=job.spending())
                self._launch(job, Inbox())
            except BaseException as error:  # noqa: BLE001 - likewise
                self._jobs.remove(job)
                job.front.broke_off("failed")
                self._conclude(job, None, error)

    def _withdraw(self, job: Job) -> bool:
        """Remove a queued cell; return whether it was queued."""
        if job not in self._jobs or job.sent is not None:
            return False
        self._jobs.remove(job)
        self._session.queue_changed()
        job.front.broke_off("stopped")
        self._conclude(job, None, stopped(WITHDRAWN))
        return True


def words_of(runs: Sequence[BackgroundRun]) -> str:
    """Return `train, running since 0:12`; of several, with the names of those that wait."""
    return f"{', '.join(run.name for run in runs)}, running since {clock(runs[0].seconds)}" if runs else "its turn"


def _doing(receipt: Receipt | None, failure: BaseException | None) -> Doing:
    if receipt is not None:
        return receipt.outcome
    if failure is None:
        return "done"
    return "stopped" if isinstance(failure, KeyboardInterrupt) else "failed"
