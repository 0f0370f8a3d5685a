"""A session: the variables and the machine that cells share, and the steps of running one cell."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from modal_gpu_magic.errors import ModalGpuError
from modal_gpu_magic.plan.machine.definition import Machine, differences
from modal_gpu_magic.sdk.deployed import DeployedApp
from modal_gpu_magic.sdk.threads import in_thread
from modal_gpu_magic.session.background_cells import BEGAN_ANEW, BackgroundCells
from modal_gpu_magic.session.dispatcher import new_run
from modal_gpu_magic.session.opening import wait_for
from modal_gpu_magic.session.run.attaching import adopt, follow
from modal_gpu_magic.session.run.cell import Cell
from modal_gpu_magic.session.run.conclude import conclude
from modal_gpu_magic.session.run.error_frames import clear_frames
from modal_gpu_magic.session.run.front import Front, SilentFront
from modal_gpu_magic.session.run.interrupts import Inbox, Presses, Reading, interruptible, press
from modal_gpu_magic.session.run.settling import receive, settle
from modal_gpu_magic.session.run.watch import Watch
from modal_gpu_magic.session.values.sync import ENDED, CellResult, Outgoing
from modal_gpu_magic.wire.messages.events import Transfer
from modal_gpu_magic.wire.transfer import Packed
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from modal_gpu_magic.sdk.registry import Entry, SentRun
    from modal_gpu_magic.session.app_opening import Opening
    from modal_gpu_magic.session.run.run_end import Ended

NOT_MOVED = "stopped before the session had moved; it has its machine and values as before"
NOT_BUILT = "stopped while the image was built; the session has its machine as before"
NOT_ADOPTED = "The values of session {0} are not in this notebook: `%modal_gpu attach {0}` brings them."


class Session(BackgroundCells):
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
        self._next_run = new_run()
        self._book_as(self._next_run, cell.limit)
        front.begin(replace(self.about, spent=self.status.standing.spent, run=self._next_run), partial(press, inbox))
        self.values.stateless = self.machine.nodes > 1
        if cell.clean or self.values.stateless:
            self.forget(BEGAN_ANEW if cell.clean else ENDED)
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
            for note in self.files.take_notes():
                front.say(note)
            return conclude(finished, cell, result, front)
        finally:
            self._ended_at = time.monotonic()
            self.values.hasher.release()

    def attach(
        self,
        entry: Entry,
        front: Front,
        inbox: Inbox,
        *,
        skips: bool = False,
        run: SentRun | None = None,
        is_last: bool = True,
    ) -> CellResult:
        """Continue a detached session: show a run of its, from the first event on, and after the last bind its values.

        Args:
            entry: the session. A second call with the same one goes on with its next run.
            front: shows the run.
            inbox: gets presses of ■.
            skips: old output is not shown.
            run: the run; None: the last one.
            is_last: whether the session's values are to be bound.

        Raises:
            Exception: what the run has raised.
        """
        if self._found is not entry:
            self.disconnect()
            self.forget()
            self.machine, self._found, self._claim = entry.present_machine, entry, uuid4().hex
            self._taken, self._is_attaching = NOT_ADOPTED.format(self.name), True
        run = run or entry.run
        timeout = run.timeout if run is not None else None
        sent_at = run.sent_at if run is not None else time.time()
        self._book_as(run.id if run is not None else "", timeout, sent_at)
        cell = Cell("", count=run.count if run is not None else 0, timeout=timeout, stdin=True)
        front.begin(self.about, partial(press, inbox))
        ended_at: list[float] = []
        with self.status.running(
            front,
            inbox,
            self._hourly(),
            self.machine.nodes,
            lambda: (ended_at or [time.time()])[0] + self.machine.scaledown,
        ):
            app = self._open(cell, front, inbox)
            assert isinstance(app, DeployedApp)  # noqa: S101 - the machine is of a detached session
            if run is None:
                self._adopt(app, None, front)
                front.broke_off("done")
                return CellResult()
            watch = Watch(self.metrics, "", {})
            try:
                ended = follow(app, run, self, front, inbox, watch, skips=skips)
            finally:
                app.listen(run.id, self._keep_late_samples)
                watch.end()
            ended_at.append(ended.ended_at)
            result = self._adopt(app, ended, front) if is_last else CellResult()
            if app.entry.run is not None and app.entry.run.id != run.id:
                self.status.book.followed()
            finished = self._finished(app, ended, Outgoing(), Packed(Transfer()))
        return conclude(finished, cell, result, front)

    @property
    def runs_to_show(self) -> tuple[SentRun, ...]:
        """The runs of a detached session whose end no kernel has reported, oldest first, and the last one."""
        return self.app.entry.runs.sent if isinstance(self.app, DeployedApp) else ()

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

    def move(self, machine: Machine, front: Front, inbox: Inbox | None = None) -> None:
        """Switch to another machine, whose container restores the saved values; name each value that is lost.

        What cannot be saved is moved through the kernel. `inbox`: gets presses of ■; None: ■ raises by itself.

        Raises:
            KeyboardInterrupt: ■ was pressed; the session has its machine as before.
        """
        unsaved = self._save(machine, inbox)
        for name in self.values.remote_names():
            if unsaved is None or name in unsaved:
                with interruptible():
                    self._carry(name, front)
        if unsaved is None:
            self.stop()
        else:
            self._close()
            self.container_ended()
        self.machine = machine

    def _save(self, machine: Machine, inbox: Inbox | None) -> dict[str, str] | None:
        """Save the values for another machine; return what is not saved. None: nothing is saved for it."""
        app = self.app
        if app is None or self.generation is None or not (self.machine.saves and machine.saves):
            return None
        try:
            settle(self, SilentFront(), inbox or Inbox())
            # What its last container saved is all that a session without a container has.
            saving: Future[dict[str, str] | None] = in_thread(lambda: app.save() if app.is_warm() else {})
            return wait_for(saving, inbox, NOT_MOVED)
        except ModalGpuError:
            return None

    def _carry(self, name: str, front: Front) -> None:
        try:
            self.namespace[name] = self.fetch(name)
        except Exception as error:  # noqa: BLE001 - a user's class may raise anything when it is pickled
            front.say(f"`{name}` cannot be carried over: {error}")

    def fall_back(self, machine: Machine | None) -> None:
        """After a failed start, restore the options of the previous machine and keep only the new GPUs."""
        if not self.is_open:
            self.machine = replace(machine or Machine(), gpus=self.machine.gpus)

    def builds_the_same(self, machine: Machine, inbox: Inbox | None = None) -> bool:
        """Whether another machine's image object builds the session's image, compared by image id.

        Args:
            machine: the other machine.
            inbox: gets presses of ■ while the image is built; None: ■ raises KeyboardInterrupt by itself.

        Raises:
            MachineError: the image cannot be built.
            KeyboardInterrupt: ■ was pressed.
        """
        mine, other = self.machine.image_object, machine.image_object
        if mine is other or mine is None or self._opening is None:
            return True
        if not self._opening.ready:  # the session's own image may be what fails
            return False
        app = self._opening.result()
        ids = in_thread(lambda: {app.image_id(mine), app.image_id(other)})
        return len(wait_for(ids, inbox, NOT_BUILT)) == 1

    def keep_warm(self, seconds: int, say: Callable[[str], None]) -> None:
        """Change the idle time of the container, in seconds, without a new machine; say if Modal does not.

        An App that is being opened was defined with the former time, and is changed once it is open.
        """
        opening = self._opening
        if opening is not None and opening.ready:
            self._keep_warm(opening, seconds, say)
        elif opening is not None:
            opening.when_ready(lambda: self._keep_warm(opening, seconds, lambda _: None))

    @staticmethod
    def _keep_warm(opening: Opening, seconds: int, say: Callable[[str], None]) -> None:
        if opening.app is None:
            return
        try:
            opening.app.keep_warm(seconds)
        except Exception as error:  # noqa: BLE001 - the cell itself can run
            say(f"Modal did not change the idle time ({error}): the container stays as long as before.")
