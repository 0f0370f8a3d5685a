"""What happens beside the cells that the kernel waits for: background cells, fetches, the session's end.

A background cell is submitted and finished on the main thread, and followed on a thread of its own. A fetch waits for
the background cells; `stop` ends them.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import LostValueError, MachineError, TakenOver
from modal_gpu_magic.sdk.deployed import DeployedApp
from modal_gpu_magic.sdk.faults import has_app_ended
from modal_gpu_magic.session.dispatcher import ATTEMPTS, REPLACED, Dispatcher, changed_by, new_run
from modal_gpu_magic.session.opening import with_lost
from modal_gpu_magic.session.run.backlog import Backlog, Submitted
from modal_gpu_magic.session.run.conclude import FinishedRun, conclude, never_ran
from modal_gpu_magic.session.run.front import Front, SilentFront
from modal_gpu_magic.session.run.interrupts import Inbox, Reading, in_one_line, press, stopped, was_pressed
from modal_gpu_magic.session.run.main_thread import MAIN_THREAD
from modal_gpu_magic.session.run.settling import OpenRun, bindings_of, receive_beside, settle, take_in
from modal_gpu_magic.session.values.sync import ENDED
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, is_lost, lost_sentence, own_of
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.plan.cell.facts import CellFacts
    from modal_gpu_magic.session.app_opening import Opening
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.run.run_end import Ended
    from modal_gpu_magic.session.values.snapshot import Snapshot
    from modal_gpu_magic.session.values.sync import CellResult

RESTORED_BY_A_CELL = "the next remote cell of its session restores what was saved; fetch it then."
BEGAN_ANEW = "a later cell began without values (--clean)"
NOT_FETCHED = "stopped before the value had arrived"
UNSAVED_SECONDS = 30.0
"""Seconds after a cell within which its container may not have saved the state yet."""


class BackgroundCells(Dispatcher):
    """A session that sends cells in the background, and fetches values between the cells."""

    _asked_for = ""
    """The run whose end a thread has asked for, or asks for."""

    @cached_property
    def backlog(self) -> Backlog:
        """The background cells that wait or run."""
        return Backlog(self)

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
            self.forget(BEGAN_ANEW if cell.clean else ENDED)
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
        bindings, changes = bindings_of(self.values.variables), changed_by(facts, outgoing)
        run = self.open_run = OpenRun(request.run, outgoing, packed, cell.count, bindings, changes)
        return Submitted(cell, facts, opening, request, run)

    def _note_ended_container(self, front: Front) -> None:
        """Note the end of a container whose idle time is over, so that what the next one lacks is sent at once."""
        if self.generation is None or self.app is None or self.status.standing.doing != "ended":
            return
        is_warm = True  # a container that cannot be asked answers the run itself
        with suppress(Exception):
            is_warm = self.machine.nodes > 1 or self.app.is_warm()
        if is_warm:
            return
        if self.machine.saves:
            self.container_ended()
        else:
            front.say(with_lost(REPLACED, self.forget()))

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
            request = replace(sent.delivered(app.store), session_volume=app.session_volume)
            if was_pressed(inbox):
                raise stopped("stopped before the cell was sent; the cell did not run")
            app.finish(self._last_run)
            self._last_run = request.run
            self.status.meter.sent()
            call = app.start(request, lambda kind, body: inbox.put((kind, body)), self.patience)
            ended = self._pump(call, sent.cell, sent.facts, front, inbox, again=again)
            if ended.lacks("owner"):
                MAIN_THREAD.call(partial(self._look_at_owner, app, ended))
            if ended.lacks("packages"):
                MAIN_THREAD.call(partial(self._look_at_packages, ended))
            if not left or ended.stopped or not never_ran(ended) or sent.run is not self.open_run:
                break
            again = again or ended.began
            if ended.lacks("parts"):
                sent = sent.numbered(new_run())
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

    def awaits_end(self, then: Callable[[], None]) -> bool:
        """Wait in a thread until the container says how a stopped run ended, then call `then` on the main thread.

        The container may not have started, and the main thread waits for no container where ■ cannot end the wait.

        Returns:
            False: no such run is open, or the container was asked before.
        """
        run, app = self.open_run, self.app
        if run is None or app is None or run.run == self._asked_for or self.machine.nodes > 1:
            return False
        self._asked_for = run.run

        def ask() -> None:
            with suppress(Exception):  # asked again where the answer is applied
                app.ended(run.run)
            MAIN_THREAD.call(then)

        threading.Thread(target=ask, name="modal-gpu-settle", daemon=True).start()
        return True

    def queue_changed(self) -> None:
        """Announce which background cells wait: a kernel that attaches later names those that were never sent."""
        if isinstance(self.app, DeployedApp):
            self.app.announcing.soon()

    def _queued(self) -> tuple[str, ...]:
        return self.backlog.queued

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
        for note in self.files.take_notes():
            front.say(note)
        return conclude(finished, sent.cell, result, front)

    def fetch(self, wanted: str | RemoteValue) -> Any:
        """Return a value that stayed in the container.

        Args:
            wanted: the name of the value, or a remote value.

        Raises:
            LostValueError: the value is lost.
            MachineError: the container has ended, or the notebook cannot unpickle the value.
            SessionEnded: another kernel has ended the detached session.
            KeyboardInterrupt: ■ was pressed.
        """
        with in_one_line(NOT_FETCHED):
            return self._fetch(wanted)

    def _fetch(self, wanted: str | RemoteValue) -> Any:
        self._refuse_taken()
        value = wanted if type(wanted) is RemoteValue else self.values.remote(str(wanted))
        name = str(wanted) if value is None else facts(value).name
        if self._opening is None:
            raise MachineError(f"the container of {name} has ended; run the cell that made it again.")
        self.backlog.wait()
        settle(self, SilentFront(), Inbox())
        if value is not None and is_lost(value):
            raise LostValueError(lost_sentence(value))
        if value is None and self.values.is_current(name):
            return self.values.namespace[name]
        if value is not None and (own := own_of(value)) and not self.values.covers.stale_in(own[0]):
            return own[0]
        if self._opening.app is not None and self._opening.app.closed:  # by a session of the same machine
            raise self._has_ended(name)
        names = (name,) if value is None else self.values.stand_ins.to_fetch(value)
        received = tuple(self.values.table.received)
        self._fetches += 1
        try:
            transfer = self._opening.result().fetch(
                names, received, self.values.table.forgotten(), self.generation, tuple(self.history)
            )
            store = self.store or InlineStore(dict(transfer.inline))
            return take_in(self, partial(self.values.fetched, names[0], value, transfer, store))
        except MachineError as error:
            if not has_app_ended(error.__cause__):
                raise
            self.check_owner(self._opening.app)
            raise self._has_ended(name) from None
        finally:
            self._fetches -= 1
            self.free_buffers()

    def _has_ended(self, name: str) -> MachineError:
        """Return the error about a value whose container was stopped."""
        way_out = RESTORED_BY_A_CELL if self.machine.saves else "run the cell that made it again."
        return MachineError(f"the container of `{name}` was stopped: {way_out}")

    def _refuse_taken(self) -> None:
        """Refuse what needs the container of a session that another kernel has.

        Raises:
            TakenOver: another kernel has the session.
        """
        if self._taken:
            raise TakenOver(self._taken)

    def stop(self) -> None:
        """End the session's container and lose the variables in the container; its background cells end."""
        self.backlog.abandon()
        ended = time.monotonic() - self._ended_at
        if (app := self.app) is not None and self.machine.saves and self.generation and ended < UNSAVED_SECONDS:
            app.discard()
        self.forget()
        opening = self._opening
        if opening is not None and self.machine.detach:
            opening.when_ready(lambda: opening.app.remove() if isinstance(opening.app, DeployedApp) else None)
        self._close()
        self._found, self._is_attaching, self._claim, self._taken = None, False, "", ""

    def disconnect(self) -> None:
        """Leave a detached session, which goes on; end another one."""
        if self.machine.detach:
            self._leave()
        else:
            self.stop()
