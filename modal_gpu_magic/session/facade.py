"""A session: the state that the kernel and the container keep between cells, and the steps of running one cell."""

from __future__ import annotations

import itertools
import os
import platform
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from modal_gpu_magic._version import __version__
from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import SMI_NAMES
from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.errors import LostValueError, MachineError, ModalGpuError, TakenOver
from modal_gpu_magic.plan.cell.facts import CellFacts, read
from modal_gpu_magic.plan.cell.texts import texts_of
from modal_gpu_magic.plan.machine.definition import KERNEL_PYTHON, Machine, differences, specs_text
from modal_gpu_magic.plan.machine.quote import rate, worst_words
from modal_gpu_magic.sdk.deployed import DeployedApp, Deployment
from modal_gpu_magic.sdk.faults import has_app_ended
from modal_gpu_magic.sdk.known_sessions import remember
from modal_gpu_magic.sdk.names import PREFIX, object_name
from modal_gpu_magic.sdk.patience import PATIENCE_SECONDS
from modal_gpu_magic.sdk.registry import Entry, machine_of, machine_row
from modal_gpu_magic.session.apps import ENDED_BY_MODAL, Apps, Opening
from modal_gpu_magic.session.costs.ledger import Record
from modal_gpu_magic.session.project.modules import LocalModules
from modal_gpu_magic.session.project.sent_files import Files
from modal_gpu_magic.session.run.attaching import adopt, follow
from modal_gpu_magic.session.run.backlog import Backlog, Submitted
from modal_gpu_magic.session.run.cell import Cell
from modal_gpu_magic.session.run.conclude import FinishedRun, conclude, failed, lacks_parts, never_ran
from modal_gpu_magic.session.run.error_frames import clear_frames
from modal_gpu_magic.session.run.front import About, Front, Phase, SilentFront
from modal_gpu_magic.session.run.interrupts import Inbox, Presses, Reading, press, stopped, was_pressed, whole
from modal_gpu_magic.session.run.main_thread import MAIN_THREAD
from modal_gpu_magic.session.run.metrics import Metrics
from modal_gpu_magic.session.run.pump import UPDATE_SECONDS, Ended, Pump
from modal_gpu_magic.session.run.remarks import remarks
from modal_gpu_magic.session.run.settling import OpenRun, bindings_of, receive, receive_beside, settle
from modal_gpu_magic.session.run.sizing import hourly_of
from modal_gpu_magic.session.run.status import Status
from modal_gpu_magic.session.run.upload import LARGE_BYTES, Sending
from modal_gpu_magic.session.run.waiting import image_words
from modal_gpu_magic.session.run.watch import Watch
from modal_gpu_magic.session.values.process_state import ProcessState
from modal_gpu_magic.session.values.sync import CellResult, Outgoing, Values
from modal_gpu_magic.session.values.versions import Versions
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore
from modal_gpu_magic.wire.messages.events import Asked, Need, Request, RunTrace, Transfer
from modal_gpu_magic.wire.pickles.silent_warnings import unwarned
from modal_gpu_magic.wire.transfer import Packed, prepare
from modal_gpu_magic.wire.values.referenced_globals import every_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modal_gpu_magic.sdk.app import Call, OpenApp
    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.session.values.snapshot import Snapshot

ATTEMPTS = 3
"""Maximum number of sends of one run. A container other than the expected one asks for the values before it starts."""

UNSAVED_SECONDS = 30.0
"""Seconds after a cell within which its container may not have saved the state yet."""

REPLACED = "The container was replaced; the notebook's values are sent again."

DETACHED = (
    "Session {0} keeps running without this notebook; a cell costs {1}. `%modal_gpu attach {0}` continues it in any "
    "notebook, `%modal_gpu stop {0}` ends it."
)
NOT_ADOPTED = "The values of session {0} are not in this notebook: `%modal_gpu attach {0}` brings them."
_ID = uuid4().hex[:8]
"""Part of the ids of this process's runs: another machine may have a process of the same number."""
_numbers = itertools.count(1)
APPS = Apps()


class Session:
    """The variables and the machine that cells share. `Session("H100").run("x = 1")` works without IPython, too.

    Args:
        machine: a `Machine`, or specs as text (`"H100:2 A100-80GB"`); None: a CPU container.
        name: the session's name; sessions do not share variables.
        backend: `cloud` or `local`.
        namespace: the notebook's variables; changed in place.
        hidden: names of the namespace that are not the user's (IPython's own).

    Attributes:
        metrics: nvidia-smi readings and faults of the GPUs: `.to_dataframe()`, `.plot()`, `.peak("power_w")`.
    """

    def __init__(
        self,
        machine: Machine | str | None = None,
        name: str = "default",
        backend: Kind = "local",
        namespace: dict[str, Any] | None = None,
        hidden: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.backend = name, backend
        self.machine = Machine.of(*machine.split()) if isinstance(machine, str) else machine or Machine()
        self.namespace: dict[str, Any] = {"__name__": "__main__"} if namespace is None else namespace
        self.values = Values(name, self.namespace, hidden or {})
        self.files = Files()
        self.modules = LocalModules(place=self.files.place, shares_packages=backend == "local")
        self.versions = Versions()
        self.process = ProcessState()
        self.metrics = Metrics()
        self.notebook = ""
        """File name of the notebook, for the ledger; empty: not known."""
        self.status = Status(self.metrics, self._hourly, self._record)
        self.generation: str | None = None
        self.patience = PATIENCE_SECONDS
        """Seconds without a connection after which a run is given up."""
        self.cache = True
        """Whether the next machine may mount the cache Volume."""
        self._opening: Opening | None = None
        self._last_run = self._next_run = ""
        self.open_run: OpenRun | None = None
        """The run that was sent and whose end the container has not reported."""
        self.store: SharedStore | None = None
        """Store of large values if the container shares the kernel's machine; None: messages carry the values."""
        self.backlog = Backlog(self)
        """The session's background cells."""
        self.prefix = PREFIX
        """Beginning of the names of a detached session at Modal."""
        self.owner_name = ""
        """This kernel, as people know it; empty: by its machine."""
        self.notebook = ""
        """Path of the notebook; empty: not known."""
        self._claim = ""
        """Id of this kernel's claim on a detached session."""
        self._found: Entry | None = None
        """The detached session that this kernel attaches to; None: the session is made here."""
        self.restores_any = False
        """The container of a session that this kernel attached to has ended: the next one restores what is saved."""
        self._taken = ""
        """The sentence about the kernel that has the session now, or about values that are not here; empty: neither."""
        self._record_id = ""
        """Id of the present run's record in the ledger, if the run may outlive this kernel."""
        self._most_seconds: float | None = None
        """How long the present run may take; None: Modal's limit."""
        self.status.lives_to = self._lives_to
        self.history: list[RunTrace] = []
        """The runs that the container's saved state may be of: the last that is known to be saved, and the last."""
        self._ended_at = 0.0
        """When the last cell ended, seconds of a monotonic clock."""
        self._fetches = 0
        """Number of fetches under way: other threads may fetch values."""

    def run(self, source: str, front: Front | None = None, **options: Any) -> Any:
        """Run source code and return the last expression's value. `options` are attributes of `Cell`.

        Raises:
            ModalGpuError: the cell could not run, timed out, or lost its container.
            Exception: the exception that the cell raised, with its own traceback.
        """
        cell = Cell(source, facts=self._read(source), **options)
        try:
            with Presses() as presses:
                return self.execute(cell, front or SilentFront(), presses.inbox).result
        except BaseException as error:
            clear_frames(error)
            raise

    def execute(self, cell: Cell, front: Front, inbox: Inbox) -> CellResult:
        """Run one cell: send changed values, wait, write returned values. `inbox` also gets presses of ■."""
        facts = cell.facts or self._read(cell.source)
        self._refuse_taken()
        news: list[str] = []
        self.backlog.wait(front, inbox)
        self.discard_dead_app(news.append)
        self._next_run = _new_run()
        self._book_as(self._next_run, cell.limit)
        front.begin(replace(self.about, spent=self.status.standing.spent, run=self._next_run), partial(press, inbox))
        self.values.stateless = self.machine.nodes > 1
        if cell.clean or self.values.stateless:
            self.forget()
        for note in (*news, *cell.files.notes):
            front.say(note)
        try:
            with self.process.held():
                with self.status.running(front, inbox, self._hourly(), self.machine.nodes, self._idle_until):
                    if self.open_run is not None:
                        self._open(cell, front, inbox)
                        settle(self, front, inbox)
                    with unwarned(), Reading(inbox):
                        outgoing = self.values.outgoing(facts.names, cell.transfer_options)
                    finished = self._attempt(cell, facts, outgoing, front, inbox)
                result = receive(self, finished)
            return conclude(finished, cell, result, front)
        finally:
            self._ended_at = time.monotonic()
            self.values.hasher.release()

    # A background cell: submitted and finished on the main thread, followed on a thread of its own.

    def submit(self, cell: Cell, front: Front, inbox: Inbox, presses: Inbox, snapshot: Snapshot | None) -> Submitted:
        """Read, hash and pack the values of a background cell, on the main thread: later changes do not reach it.

        Args:
            cell: the cell.
            front: shows the run.
            inbox: the messages of the run.
            presses: the presses of ■ while the values are read.
            snapshot: the values that the cell is to see, if it was queued; None: the notebook's.

        Raises:
            TransferError: a value cannot be sent.
            KeyboardInterrupt: ■ was pressed; the cell was not sent.
        """
        facts = cell.facts or self._read(cell.source)
        self._refuse_taken()
        news: list[str] = []
        self.discard_dead_app(news.append)
        front.begin(replace(self.about, spent=self.status.standing.spent), partial(press, inbox))
        self.values.stateless = self.machine.nodes > 1
        if cell.clean or self.values.stateless:
            self.forget()
        for note in (*news, *cell.files.notes):
            front.say(note)
        try:
            with self.process.held(), snapshot.in_place() if snapshot is not None else nullcontext():
                if self.open_run is not None:
                    self._open(cell, front, presses)
                    settle(self, front, presses)
                opening = self._begin_opening(cell, front)
                self._share_store(opening.app)
                self._note_ended_container(front)
                return self._submitted(cell, facts, opening, front, presses)
        finally:
            self.values.hasher.release()

    def _submitted(self, cell: Cell, facts: CellFacts, opening: Opening, front: Front, presses: Inbox) -> Submitted:
        with unwarned(), Reading(presses):
            outgoing = self.values.outgoing(facts.names, cell.transfer_options)
        packed = self._pack(outgoing, front, presses)
        request = self._request(opening, cell, facts, outgoing, packed)
        for line in self.process.news(opening.machine):
            front.say(line)
        if was_pressed(presses):
            raise stopped("stopped before the cell was sent; the cell did not run")
        self._book_as(request.run, cell.limit)
        bindings, changes = bindings_of(self.namespace), _changes(facts, outgoing)
        run = self.open_run = OpenRun(request.run, outgoing, packed, cell.count, bindings, changes)
        return Submitted(cell, facts, opening, request, run)

    def _note_ended_container(self, front: Front) -> None:
        """Note the end of a container whose idle time is over, so that what the next one lacks is sent at once."""
        if self.generation is None or self.app is None or self.status.standing.doing != "ended":
            return
        is_warm = True  # a container that cannot be asked answers the run itself
        with suppress(Exception):
            is_warm = self.machine.nodes > 1 or self.app.is_warm(self.name)
        if is_warm:
            return
        if self.machine.saves:
            self.container_ended()
        else:
            front.say(_with_lost(REPLACED, self.forget()))

    def follow(self, sent: Submitted, front: Front, inbox: Inbox) -> tuple[Submitted, FinishedRun]:
        """Send a background cell and take in all that happens to its run, on a thread of its own.

        The values are sent again if a new container answered; the main thread chooses and packs them.
        """
        with self.status.running(front, inbox, self._hourly(), self.machine.nodes, self._idle_until):
            return self._follow(sent, front, inbox)

    def _follow(self, sent: Submitted, front: Front, inbox: Inbox) -> tuple[Submitted, FinishedRun]:
        again = False
        for left in itertools.count(ATTEMPTS - 1, -1):
            app = self._wait_open(sent.opening, front, inbox)
            request = replace(sent.delivered(app.store(self.name)), session_volume=app.session_volume)
            if was_pressed(inbox):
                raise stopped("stopped before the cell was sent; the cell did not run")
            app.finish(self._last_run)
            self._last_run = request.run
            self.status.meter.sent()
            call = app.start(self.name, request, lambda kind, body: inbox.put((kind, body)), self.patience)
            ended = self._pump(call, sent.cell, sent.facts, front, inbox, again=again)
            if _is_refused(ended):
                MAIN_THREAD.call(partial(self._look_at_owner, app, ended))
            if not left or ended.stopped or not never_ran(ended) or sent.run is not self.open_run:
                break
            again = again or ended.began
            if lacks_parts(ended):
                sent = sent.numbered(_new_run())
            else:
                sent = MAIN_THREAD.call(partial(self._submit_again, sent, ended, front))
        return sent, self._finished(app, ended, sent.run.outgoing, sent.run.packed)

    def _submit_again(self, sent: Submitted, ended: Ended, front: Front) -> Submitted:
        """Pack the values of a background cell for a new container.

        Raises:
            MachineError: the notebook has changed the values since.
        """
        changed = sent.changed(self.values.outgoing(sent.facts.names, sent.cell.transfer_options).looked)
        self._begin_again(ended, sent.cell, sent.facts, front)
        if changed:
            raise MachineError(
                f"the container was replaced before the cell began, and {', '.join(changed)} changed in the notebook "
                "since: run the cell again."
            )
        opening = self._begin_opening(sent.cell, front)
        return self._submitted(sent.cell, sent.facts, opening, front, Inbox())

    def withdraw(self, sent: Submitted) -> None:
        """Close the run of a background cell that was not sent, or whose end is not known."""
        if self.open_run is sent.run:
            self.open_run = None

    def snapshot(self, cell: Cell) -> Snapshot:
        """Copy the values that a background cell reads, before it is queued.

        Raises:
            TransferError: a value cannot be sent.
        """
        facts = cell.facts or self._read(cell.source)
        try:
            with unwarned():
                self.values.outgoing(facts.names, cell.transfer_options)  # refuses what the cell would be refused for
                return self.values.snapshot(facts.names, cell.transfer_options)
        finally:
            self.values.hasher.release()

    def finish(self, sent: Submitted, finished: FinishedRun, front: Front) -> CellResult:
        """Write the values of a background cell that has ended into the notebook, and show its receipt.

        Raises:
            Exception: the error that ended the cell.
        """
        with self.process.held():
            result = receive_beside(self, finished, sent.run, sent.cell.background, front.say)
        return conclude(finished, sent.cell, result, front)

    def replace(self, machine: Machine, front: Front) -> None:
        """Switch to another machine: show its price and the lost variables, then end the old container."""
        lost = self.values.remote_names()
        changes = ", ".join(differences(self.machine, machine)) or f"what {machine.image} builds"
        front.say(
            f"New machine ({changes}): a new container starts, {machine.price_text} at Modal"
            + (f"; lost with the old one: {', '.join(lost)}" if lost else "")
            + ". --session NAME keeps both, --move carries the values over."
        )
        self.stop()
        self.machine = machine

    def move(self, machine: Machine, front: Front) -> None:
        """Switch to another machine, whose container restores the saved values; name each value that is lost.

        What cannot be saved is moved through the kernel.
        """
        unsaved = self._save(machine)
        for name in self.values.remote_names():
            if unsaved is None or name in unsaved:
                self._carry(name, front)
        if unsaved is None:
            self.stop()
        else:
            self._close()
            self.container_ended()
        self.machine = machine

    def _save(self, machine: Machine) -> dict[str, str] | None:
        """Save the values for another machine; return what is not saved. None: nothing is saved for it."""
        app = self.app
        if app is None or self.generation is None or not (self.machine.saves and machine.saves):
            return None
        try:
            settle(self, SilentFront(), Inbox())
            return app.save(self.name)
        except ModalGpuError:
            return None

    def _close(self) -> None:
        """End the App of the session's machine."""
        opening, self._opening = self._opening, None
        if opening is not None and isinstance(app := opening.app, DeployedApp) and not app.closed:
            app.terminate()  # the Volume stays: the next container goes on with what it has
        self.status.ended()
        if opening is not None:
            APPS.close(opening)

    def _carry(self, name: str, front: Front) -> None:
        try:
            self.namespace[name] = self.fetch(name)
        except Exception as error:  # noqa: BLE001 - a user's class may raise anything when it is pickled
            front.say(f"`{name}` cannot be carried over: {error}")

    def fall_back(self, machine: Machine | None) -> None:
        """After a failed start, restore the options of the previous machine and keep only the new GPUs."""
        if not self.is_open:
            self.machine = replace(machine or Machine(), gpus=self.machine.gpus)

    def builds_the_same(self, machine: Machine) -> bool:
        """Whether another machine's image object builds the session's image, compared by image id."""
        mine, other = self.machine.image_object, machine.image_object
        if mine is other or mine is None or self._opening is None:
            return True
        app = self._opening.result()
        return app.image_id(mine) == app.image_id(other)

    def keep_warm(self, seconds: int, say: Callable[[str], None]) -> None:
        """Change the idle time of the container, in seconds, without a new machine; say if Modal does not."""
        if self._opening is not None and self._opening.app is not None:
            try:
                self._opening.app.keep_warm(self.name, seconds)
            except Exception as error:  # noqa: BLE001 - the cell itself can run
                say(f"Modal did not change the idle time ({error}): the container stays as long as before.")

    def fetch(self, name: str) -> Any:
        """Return a value that stayed in the container."""
        self._refuse_taken()
        if self._opening is None:
            raise MachineError(f"the container of {name} has ended; run the cell that made it again.")
        self.backlog.wait()
        settle(self, SilentFront(), Inbox())
        if name in self.values.lost:
            why = self.values.why_lost.get(name, "its container has ended")
            raise LostValueError(f"`{name}` is lost: {why}; run the cell that made it again.")
        if self.values.is_current(name):
            return self.values.namespace[name]
        names, received = self.values.stand_ins.to_fetch(name), tuple(self.values.table.received)
        self._fetches += 1
        try:
            transfer = self._opening.result().fetch(
                self.name, names, received, self.values.table.forgotten(), self.generation, tuple(self.history)
            )
            with whole():
                return self.values.fetched(name, transfer, self.store or InlineStore(dict(transfer.inline)))
        finally:
            self._fetches -= 1
            self.free_buffers()

    def stop(self) -> None:
        """End the session's container and lose the variables in the container; its background cells end."""
        self.backlog.abandon()
        ended = time.monotonic() - self._ended_at
        if (app := self.app) is not None and self.machine.saves and self.generation and ended < UNSAVED_SECONDS:
            app.discard(self.name)
        self._end()

    def _end(self) -> None:
        """End the session's container."""
        self.forget()
        opening = self._opening
        if opening is not None and self.machine.detach:
            opening.when_ready(lambda: opening.app.remove() if isinstance(opening.app, DeployedApp) else None)
        self._close()
        self._found, self._claim, self._taken = None, "", ""

    def disconnect(self) -> None:
        """Leave a detached session, which goes on; end another one."""
        if self.machine.detach and self._opening is not None:
            APPS.close(self._opening)
            self._opening = None
        elif not self.machine.detach:
            self.stop()

    def attach(self, entry: Entry, front: Front, inbox: Inbox, *, skips: bool = False) -> CellResult:
        """Continue a detached session: show its last run, from the first event on, and bind its values.

        Args:
            entry: the session.
            front: shows the run.
            inbox: gets presses of ■.
            skips: old output is not shown.

        Raises:
            Exception: what the run has raised.
        """
        self.disconnect()
        self.forget()
        self.machine, self._found, self._claim = machine_of(entry.machine), entry, uuid4().hex
        self._taken = NOT_ADOPTED.format(self.name)
        run = entry.run
        timeout = run.timeout if run is not None else None
        sent_at = run.sent_at if run is not None else time.time()
        self._book_as(run.id if run is not None else "", timeout, sent_at)
        cell = Cell("", count=run.count if run is not None else 0, timeout=timeout, stdin=True)
        front.begin(self.about, partial(press, inbox))
        ended_at: list[float] = []
        with self.status.running(
            front, inbox, self._hourly(), 1, lambda: (ended_at or [time.time()])[0] + self.machine.scaledown
        ):
            app = self._open(cell, front, inbox)
            assert isinstance(app, DeployedApp)  # noqa: S101 - the machine is of a detached session
            if app.entry.run is None:
                self._adopt(app, None, front)
                front.broke_off("done")
                return CellResult()
            watch = Watch(self.metrics, "", {})
            try:
                ended = follow(app, app.entry.run, self, front, inbox, watch, skips=skips)
            finally:
                app.listen(app.entry.run.id, self._keep_late_samples)
                watch.end()
            ended_at.append(ended.ended_at)
            result = self._adopt(app, ended, front)
            finished = self._finished(app, ended, Outgoing(), Packed(Transfer()))
        return conclude(finished, cell, result, front)

    def _adopt(self, app: DeployedApp, ended: Ended | None, front: Front) -> CellResult:
        """Bind what the container has; the run's own end matters more than a failure of that.

        Without these values, a cell of this kernel would make the container forget its names: no cell runs.
        """
        try:
            result = adopt(self, app, ended, front.say)
        except ModalGpuError as error:
            front.say(f"The session's values were not bound: {error} Attach again to bind them.")
            return CellResult()
        if result is not None:
            self._taken = ""
        return result or CellResult()

    def taken_over(self, words: str) -> None:
        """Note that another kernel has the session; its values are there."""
        self.forget()
        self.disconnect()
        self._taken = words

    def _look_at_owner(self, app: OpenApp, ended: Ended) -> None:
        """Note that the container has refused a run because another kernel has the session.

        Raises:
            TakenOver: it has.
        """
        if not _is_refused(ended) or not isinstance(app, DeployedApp):
            return
        try:
            app.check_owner()
        except TakenOver as error:
            self.taken_over(str(error))
            raise

    def _refuse_taken(self) -> None:
        """Refuse what needs the container of a session that another kernel has.

        Raises:
            TakenOver: another kernel has the session.
        """
        if self._taken:
            raise TakenOver(self._taken)

    def _deployment(self) -> Deployment | None:
        """Return what makes this session a detached one; None: the session ends with the kernel."""
        if not self.machine.detach:
            return None
        self._claim = self._claim or uuid4().hex
        mine = Entry(
            session=self.name,
            app=object_name(self.prefix, self.name) if self._found is None else self._found.app,
            machine=machine_row(self.machine),
            title=self.machine.title,
            hourly=self._hourly(),
            idle_seconds=self.machine.scaledown,
            owner=self._claim,
            owner_name=self.owner_name or f"a kernel on {platform.node()}",
            owned_at=time.time(),
        )
        return Deployment(mine, exists=self._found is not None)

    def container_ended(self) -> None:
        """Note the end of the container: the next one goes on with its saved state, if there is one."""
        if not self.machine.saves or self.generation is None:
            self.forget()
            return
        self.open_run = None
        self._resend()
        self.free_buffers()

    def _resend(self) -> None:
        """Send files, modules and the process's state again: another container has the values."""
        self.files.resend()
        self.modules.resend()
        self.versions.forget()
        self.process.forget()

    def forget(self) -> tuple[str, ...]:
        """Discard the state of the container, so that values are sent again; return the names of lost values."""
        self.generation = self.open_run = None
        self.history.clear()
        self.files.forget()
        self.modules.forget()
        self.versions.forget()
        self.process.forget()
        self.free_buffers()
        return self.values.forget()

    def free_buffers(self) -> None:
        """Free the shared memory of the values that have been received; those in an open run have not been."""
        if self.store is not None and self.open_run is None and not self._fetches:
            self.store.clear()

    @property
    def about(self) -> About:
        """Facts of the session's next run: GPUs, backend, price, nodes."""
        gpus, nodes = self.machine.gpus, self.machine.nodes
        known = self._hourly()
        billed = self.machine.first_per_hour if known is None else known
        measured = self.metrics.simulated
        simulated = bool(gpus) and (self.backend == "local" if measured is None else measured)
        session = self.name if self.machine.detach else ""
        return About(specs_text(gpus) or "CPU", self.backend, simulated, billed, nodes, session=session)

    @property
    def price_text(self) -> str:
        """The price of the GPUs that arrived; before, that of the first choice, and of the dearest: `$3.95/h`."""
        read = self.backend == "cloud" and self.metrics.latest
        known = self._hourly() if read else None
        return self.machine.price_text if known is None else rate(known)

    def _hourly(self) -> float | None:
        """The price of the GPUs that arrived, or will for certain, all nodes together; None: not known."""
        own = tuple(sample for sample in self.metrics.latest if sample.node == 0)
        return hourly_of(self.machine, self.backend, own)

    def _record(self) -> Record:
        """The facts of the session for the ledger."""
        gpus, prices, hourly = self.machine.gpus, rates.current(), self._hourly()
        asked = specs_text(gpus) or "CPU"
        return Record(
            id=self._record_id,
            kind="run",
            began=0.0,
            ended=0.0,
            until=0.0,
            backend=self.backend,
            session=self.name,
            machine=f"{self.machine.nodes} x {asked}" if self.machine.nodes > 1 else asked,
            gpu=gpus[0].name if gpus else "CPU",
            nodes=self.machine.nodes,
            notebook=_notebook_name(self.notebook),
            hourly=hourly,
            price_date=prices.date,
            price_source=prices.source,
        )

    def _lives_to(self) -> float | None:
        """When the container has ended at the latest if nobody comes back; None: it ends with this kernel."""
        if not self.machine.detach:
            return None
        return time.time() + (self._most_seconds or FUNCTION_TIMEOUT) + self.machine.scaledown

    def _book_as(self, run: str, most_seconds: float | None, covered_to: float | None = None) -> None:
        """Name the record of the next run, so that a kernel which attaches to the run replaces the record."""
        self._record_id, self._most_seconds = run if self.machine.detach else "", most_seconds
        self.status.covered_to = covered_to

    @property
    def is_open(self) -> bool:
        """Whether the session has an App that starts, runs or is idle."""
        return self._opening is not None and not self._opening.dead

    @property
    def app(self) -> OpenApp | None:
        """The session's App, if it is open."""
        return self._opening.app if self._opening is not None and not self._opening.dead else None

    def _read(self, source: str) -> CellFacts:
        return read(source, text_of=texts_of(self.namespace))

    def _idle_until(self) -> float | None:
        return time.time() + self.machine.scaledown if self.is_open else None

    def discard_dead_app(self, say: Callable[[str], None]) -> None:
        """Discard an App that can no longer run cells, before the values to send are chosen; say what was lost."""
        opening = self._opening
        if opening is not None and opening.dead:
            self._opening = None
            self.status.ended()
            if self.machine.saves and self.generation and opening.is_ended_by_modal:
                self.container_ended()
                say(opening.why_dead)
                return
            lost = self.forget()
            if opening.why_dead:
                say(_with_lost(opening.why_dead, lost))

    def _open(self, cell: Cell, front: Front, inbox: Inbox) -> OpenApp:
        """Wait for the session's App and show its progress. ■ ends the wait; the App still opens, for the next cell."""
        return self._wait_open(self._begin_opening(cell, front), front, inbox)

    def _begin_opening(self, cell: Cell, front: Front) -> Opening:
        """Return the session's App, which begins to open if the session has none."""
        if self._opening is None:
            machine = replace(self.machine, cache=self.machine.cache and self.cache)
            self._opening = APPS.opening(machine, self.backend, cell.packages, self._deployment())
            for line in remarks(self.machine, self.backend):
                front.say(line)
            if machine.detach and self._found is None:
                at_most = worst_words(machine.per_hour, cell.timeout or FUNCTION_TIMEOUT, machine.scaledown)
                front.say(DETACHED.format(self.name, at_most))
        return self._opening

    def _wait_open(self, opening: Opening, front: Front, inbox: Inbox) -> OpenApp:
        """Wait for an App and show its progress."""
        if not opening.ready:
            opening.when_ready(lambda: inbox.put(("opened", None)))
        since = opening.since
        phase: Phase = "connecting"
        while not opening.ready:
            kind = _take(inbox)
            if kind == "press":
                raise stopped("stopped; the machine is still being made, for the next cell")
            if opening.connected and phase == "connecting":
                since, phase = opening.connected_at, "building"
                self.status.enters("building")
            if kind == "tick":
                words = image_words(self.machine) if phase == "building" else ""
                front.show(self.status.state(phase, self.machine.title, time.monotonic() - since, words))
        app = opening.result()
        if isinstance(app, DeployedApp):
            remember(self.name, self.backend, self.notebook)
        self._share_store(app)
        return app

    def _share_store(self, app: OpenApp | None) -> None:
        """Send large values through the App's store; None: the App is not open yet, and the message carries all."""
        self.store = None if app is None else app.store(self.name)
        self.values.unwritten = self.store.unwritten if self.store else None

    def _attempt(self, cell: Cell, facts: CellFacts, outgoing: Outgoing, front: Front, inbox: Inbox) -> FinishedRun:
        """Send the run; send it again, up to ATTEMPTS times, if a new container answered or no user code ran."""
        again = False
        for left in itertools.count(ATTEMPTS - 1, -1):
            app = self._open(cell, front, inbox)
            packed = self._pack(outgoing, front, inbox)
            call = self._start(app, cell, facts, outgoing, packed, front, inbox)
            ended = self._pump(call, cell, facts, front, inbox, again=again)
            self._look_at_owner(app, ended)
            if not left or ended.stopped or not never_ran(ended):
                break
            again = again or ended.began
            if not lacks_parts(ended):
                outgoing = self._begin_again(ended, cell, facts, front)
        return self._finished(app, ended, outgoing, packed)

    def _finished(self, app: OpenApp, ended: Ended, outgoing: Outgoing, packed: Packed) -> FinishedRun:
        return FinishedRun(
            app=app,
            ended=ended,
            outgoing=outgoing,
            packed=packed,
            session=self.name,
            machine=self.machine,
            namespace=self.namespace,
            project=self.files.project,
            metrics=self.metrics,
            status=self.status,
            versions=self.versions,
        )

    def _start(
        self,
        app: OpenApp,
        cell: Cell,
        facts: CellFacts,
        outgoing: Outgoing,
        packed: Packed,
        front: Front,
        inbox: Inbox,
    ) -> Call:
        """Spawn the run; from now on the run is open until the container has said how it ended.

        Raises:
            KeyboardInterrupt: ■ was pressed before; the run was not sent.
        """
        request = replace(self._request(app, cell, facts, outgoing, packed), session_volume=app.session_volume)
        for line in self.process.news(app.machine):
            front.say(line)
        app.finish(self._last_run)
        if was_pressed(inbox):
            raise stopped("stopped before the cell was sent; the cell did not run")
        self._last_run = request.run
        changes = _changes(facts, outgoing)
        self.open_run = OpenRun(request.run, outgoing, packed, cell.count, changes=changes)
        self.status.meter.sent()
        return app.start(self.name, request, lambda kind, body: inbox.put((kind, body)), self.patience)

    def _pump(self, call: Call, cell: Cell, facts: CellFacts, front: Front, inbox: Inbox, *, again: bool) -> Ended:
        """Take in all that happens to the run until it has ended."""
        values = {name: self.namespace.get(name) for name in facts.names.reads}
        watch = Watch(self.metrics, cell.source, values)
        try:
            pump = Pump(call, inbox, front, self.machine.title, cell.limit, watch, self.status, again=again)
            ended = pump.run()
        finally:
            call.app.listen(call.request.run, self._keep_late_samples)
            watch.end()
        if self.values.stateless and failed(ended):
            call.cancel(terminate=True)  # end the nodes that do not notice another node's failure
        return ended

    def _begin_again(self, ended: Ended, cell: Cell, facts: CellFacts, front: Front) -> Outgoing:
        """Forget the container that has ended, and choose the values to send to the next one."""
        is_ended = has_app_ended(ended.lost)
        need = ended.answer.need if ended.answer else None
        if need is not None and need.reason in ("restored", "rewound"):
            self._take_over(need, front)
        elif need is None and self.machine.saves and self.generation is not None:
            self.container_ended()
            if is_ended:
                self._close()
                front.say(ENDED_BY_MODAL)
        else:
            lost = self.forget()
            if is_ended:
                self._close()
            why = need.why.get("", "") if need is not None else ""
            front.say(_with_lost(ENDED_BY_MODAL if is_ended else REPLACED, lost, why))
        return self.values.outgoing(facts.names, cell.transfer_options)

    def _take_over(self, need: Need, front: Front) -> None:
        """Go on with a container that has the saved values of the one that has ended; say what is lost."""
        self.open_run = None
        self._resend()
        if need.reason == "rewound":
            self.history.clear()
            lost = self.values.rewound(frozenset(need.restored))
            self.values.why_lost.update({name: need.why.get(name, need.why.get("", "")) for name in lost})
        else:
            self.values.marks.forget(need.forgot)
            lost = self.values.lose(need.why)
        self.generation = need.generation
        for why in dict.fromkeys(self.values.why_lost.get(name, "") for name in lost):
            names = [name for name in lost if self.values.why_lost.get(name, "") == why]
            front.say(f"Lost with the container: {', '.join(names)}" + (f" ({why})." if why else "."))

    def _keep_late_samples(self, kind: str, body: Any) -> None:
        """Keep samples that arrive between two cells, in the reader's thread; ignore other events."""
        for event in body.events if kind == "frame" else ():
            if event.kind == "sample":
                self.metrics.take(event)

    @unwarned()
    def _pack(self, outgoing: Outgoing, front: Front, inbox: Inbox) -> Packed:
        """Pack the cell's values into the store or the message, and show the progress of a large transfer."""
        store = self.store or InlineStore()
        self.free_buffers()  # what was packed and never sent, what a killed container wrote

        def write() -> Packed:
            return prepare(
                outgoing.values,
                self.namespace,
                store,
                outgoing.hasher,
                session=self.name,
                table=self.values.table,
            )

        total = outgoing.nbytes
        if self.store is None or total < LARGE_BYTES:
            with Reading(inbox):
                return write()
        return Sending(self.store, total).run(write, front, inbox)

    def _request(
        self, app: OpenApp | Opening, cell: Cell, facts: CellFacts, outgoing: Outgoing, packed: Packed
    ) -> Request:
        transfer = packed.transfer
        run, self._next_run = self._next_run or _new_run(), ""
        names, augmented = facts.names, facts.augmented
        extra = tuple(p for p in self.machine.pip if p not in app.machine.pip)
        return Request(
            run=run,
            version=__version__,
            source=cell.source,
            execution_count=cell.count,
            generation=None if cell.clean else self.generation,
            values=transfer,
            drops=outgoing.drops,
            forgot=outgoing.forgot,
            fetched=tuple(self.values.table.received),
            named=self.values.kernel_only_tokens(packed),
            reads=tuple(names.reads | every_name(self.namespace) if names.any_name else names.reads),
            maybe=tuple(names.maybe | (every_name(self.namespace) - names.reads if names.any_name else set())),
            binds=tuple(names.binds - augmented),
            deletes=tuple(names.deletes),
            mutates=frozenset(names.mutates | augmented),
            import_statements=dict(facts.import_statements),
            stars=tuple(names.stars),
            imports=cell.imports,
            installs=extra,
            python=KERNEL_PYTHON,
            versions=self.versions.outgoing(transfer.modules, app.machine),
            modules=self.modules.outgoing((*names.imports, *transfer.modules), cell.transfer_options.exclude),
            files=self.files.outgoing(cell.files),
            # Without the cache Volume: cells share no results through it, Modal commits it in the background, and
            # Modal refuses to reload it while a model's file is open.
            volumes=tuple(name for name, _ in app.machine.volumes),
            fetch_bytes=cell.fetch_bytes,
            fetch_names=cell.fetch_names,
            clean=cell.clean,
            timeout=cell.timeout,
            spending=cell.spending,
            store=str(self.store.directory) if self.store else None,
            stdin=cell.stdin,
            background=cell.background,
            distributed=cell.distributed,
            states=self.process.outgoing(cell.transfer_options.include, app.machine),
            kernel=cell.kernel,
            save=self.machine.save if self.machine.saves else 0,
            history=tuple(self.history),
            asked=Asked(tuple(map(str, self.machine.gpus)), self.backend, dict(SMI_NAMES)),
            restores_any=self.restores_any,
            owner=self._claim,
            log=self.machine.detach,
        )


def _notebook_name(path: str) -> str:
    """Return the file name of a notebook's path, of any system; empty: no path."""
    return PurePath(path.replace("\\", "/")).name


def _is_refused(ended: Ended) -> bool:
    """Whether the container has refused the run, because another kernel has the session."""
    need = ended.answer.need if ended.answer is not None else None
    return need is not None and need.reason == "owner"


def _new_run() -> str:
    """Return the id of a new run."""
    return f"{os.getpid()}-{_ID}-{next(_numbers)}"


def _with_lost(words: str, lost: tuple[str, ...], why: str = "") -> str:
    """Return a sentence about a container that has ended, with the names that are lost, and why."""
    reason = f" ({why})" if why and lost else ""
    return f"{words} Lost with it: {', '.join(lost)}{reason}." if lost else words


def _changes(facts: CellFacts, outgoing: Outgoing) -> frozenset[str] | None:
    """Return the names that a cell may change; None: any name."""
    names = facts.names
    if names.any_name:
        return None
    return frozenset({*outgoing.reached, *outgoing.values, *names.reads, *names.binds, *names.mutates, *names.deletes})


def _take(inbox: Inbox) -> str:
    import queue

    try:
        return inbox.get(timeout=UPDATE_SECONDS)[0]
    except queue.Empty:
        return "tick"
