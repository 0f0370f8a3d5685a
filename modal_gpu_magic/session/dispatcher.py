"""Send runs to the container: pack the values, start the run, follow the run, send it again to a new container."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic._version import __version__
from modal_gpu_magic.catalog.gpus import SMI_NAMES
from modal_gpu_magic.errors import SessionEnded, TakenOver
from modal_gpu_magic.plan.machine.definition import KERNEL_PYTHON
from modal_gpu_magic.sdk.deployed import DeployedApp
from modal_gpu_magic.sdk.faults import has_app_ended
from modal_gpu_magic.sdk.registry import kernel_id
from modal_gpu_magic.session.app_opening import ENDED_BY_MODAL, ENDED_ELSEWHERE, Opening
from modal_gpu_magic.session.opening import AppHolder, with_lost
from modal_gpu_magic.session.run.conclude import (
    FinishedRun,
    failed,
    never_ran,
    packages_error,
)
from modal_gpu_magic.session.run.interrupts import Inbox, Reading, stopped, was_pressed
from modal_gpu_magic.session.run.pump import Pump
from modal_gpu_magic.session.run.settling import OpenRun
from modal_gpu_magic.session.run.upload import LARGE_BYTES, Sending
from modal_gpu_magic.session.run.watch import Watch
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.own_modules import own_modules
from modal_gpu_magic.wire.messages.events import Asked, Need, Request
from modal_gpu_magic.wire.transfer import Packed, prepare
from modal_gpu_magic.wire.values.referenced_globals import every_name
from modal_gpu_magic.wire.values.silent_warnings import unwarned
from modal_gpu_magic.wire.values.submodules import submodules_read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modal_gpu_magic.plan.cell.facts import CellFacts
    from modal_gpu_magic.sdk.app import Call, OpenApp
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.run_end import Ended
    from modal_gpu_magic.session.values.sync import Outgoing
    from modal_gpu_magic.wire.messages.events import Modules

ATTEMPTS = 3
"""Maximum number of sends of one run. A container other than the expected one asks for the values before it starts."""
REPLACED = "The container was replaced; the notebook's values are sent again."
_numbers = itertools.count(1)


class Dispatcher(AppHolder):
    """A session that sends runs to its container."""

    def _attempt(self, cell: Cell, facts: CellFacts, outgoing: Outgoing, front: Front, inbox: Inbox) -> FinishedRun:
        """Send the run; send it again, up to ATTEMPTS times, if a new container answered or no user code ran."""
        try:
            return self._attempt_again(cell, facts, outgoing, front, inbox)
        except BaseException:
            if self.open_run is not None:
                self.open_run.follower = None
            raise

    def _attempt_again(
        self, cell: Cell, facts: CellFacts, outgoing: Outgoing, front: Front, inbox: Inbox
    ) -> FinishedRun:
        again = False
        for left in itertools.count(ATTEMPTS - 1, -1):
            app = self._open(cell, front, inbox)
            packed = self._pack(outgoing, front, inbox)
            call = self._start(app, cell, facts, outgoing, packed, front, inbox)
            ended = self._pump(call, cell, facts, front, inbox, again=again)
            self._look_at_owner(app, ended)
            self._look_at_packages(ended)
            if not left or ended.stopped or not never_ran(ended):
                break
            again = again or ended.began
            if not ended.lacks("parts"):
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
        changes = changed_by(facts, outgoing)
        follower = threading.current_thread()
        self.open_run = OpenRun(request.run, outgoing, packed, cell.count, changes=changes, follower=follower)
        self.status.meter.sent()
        return app.start(request, lambda kind, body: inbox.put((kind, body)), self.patience)

    def _pump(self, call: Call, cell: Cell, facts: CellFacts, front: Front, inbox: Inbox, *, again: bool) -> Ended:
        """Take in all that happens to the run until it has ended."""
        values = {name: self.namespace.get(name) for name in facts.names.reads}
        watch = Watch(self.metrics, cell.source, values)
        try:
            ended = Pump(
                call, inbox, front, watch, self.status, subject=self.machine.title, timeout=cell.limit, again=again
            ).run()
        finally:
            call.app.listen(call.request.run, self._keep_late_samples)
            watch.end()
        if self.values.stateless and failed(ended):
            call.cancel(terminate=True)  # end the nodes that do not notice another node's failure
        return ended

    def _begin_again(self, ended: Ended, cell: Cell, facts: CellFacts, front: Front) -> Outgoing:
        """Forget the container that has ended, and choose the values to send to the next one."""
        is_ended = has_app_ended(ended.lost)
        is_removed = isinstance(ended.lost, SessionEnded)  # with all that was saved
        words = ENDED_ELSEWHERE.format(self.name) if self.machine.detach else ENDED_BY_MODAL
        need = ended.need
        if need is not None and need.reason in ("restored", "rewound"):
            self._take_over(need, front)
        elif need is None and self.machine.saves and self.generation is not None and not is_removed:
            self.container_ended()
            if is_ended:
                self._close()
                front.say(words)
        else:
            lost = self.forget()
            if is_ended:
                self._close()
            why = need.why.get("", "") if need is not None else ""
            front.say(with_lost(words if is_ended else REPLACED, lost, why))
        return self.values.outgoing(facts.names, cell.transfer_options)

    def _take_over(self, need: Need, front: Front) -> None:
        """Go on with a container that has the saved values of the one that has ended; say what is lost."""
        self.open_run = None
        self._resend()
        if need.reason == "rewound":
            self.history.clear()
            lost = self.values.rewound(frozenset(need.restored), need.why)
        else:
            self.values.marks.forget(need.forgot)
            lost = self.values.lose(need.why)
        self.generation = need.generation
        for why in dict.fromkeys(lost.values()):
            names = [name for name, reason in lost.items() if reason == why]
            front.say(f"Lost with the container: {', '.join(names)} ({why}).")

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
        run, self._next_run = self._next_run or new_run(), ""
        names, augmented = facts.names, facts.augmented
        extra = tuple(p for p in self.machine.pip if p not in app.machine.pip)
        modules = self._modules(cell, {*names.imports, *transfer.modules})  # before the states
        return Request(
            run=run,
            version=__version__,
            source=cell.source,
            execution_count=cell.count,
            generation=None if cell.clean else self.generation,
            values=transfer,
            holds=outgoing.holds,
            released=outgoing.released,
            aliases=tuple(outgoing.aliases.items()),
            drops=outgoing.drops,
            forgot=outgoing.forgot,
            fetched=tuple(self.values.table.received),
            named=self.values.kernel_only_tokens(packed),
            places=outgoing.places,
            own_modules=tuple(own_modules().loaded),
            reads=tuple(names.reads | every_name(self.namespace) if names.any_name else names.reads),
            maybe=tuple(names.maybe | (every_name(self.namespace) - names.reads if names.any_name else set())),
            binds=tuple(names.binds - augmented),
            deletes=tuple(names.deletes & self.namespace.keys()),
            mutates=frozenset(names.mutates | augmented),
            import_statements=dict(facts.import_statements),
            stars=tuple(names.stars),
            submodules=submodules_read(cell.source, names.reads, self.namespace),
            imports=cell.imports,
            installs=extra,
            python=KERNEL_PYTHON,
            versions=self.versions.outgoing(transfer.modules, app.machine),
            modules=modules,
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
            log=self.name if self.machine.detach else "",
        )

    def _modules(self, cell: Cell, names: Iterable[str]) -> Modules | None:
        """Return the files of the user's modules to send; None: the container has them.

        What the container runs again begins as its file says: what cells have set in modules is sent again.
        """
        modules = self.modules.outgoing(names, cell.transfer_options.exclude)
        if modules is not None and self.modules.has(modules.contents):
            self.process.forget_modules()
        return modules

    def _look_at_owner(self, app: OpenApp, ended: Ended) -> None:
        """Note that the container has refused a run because another kernel has the session.

        Raises:
            TakenOver: it has.
            SessionEnded: it has, and has ended the session since.
        """
        if ended.lacks("owner"):
            self.check_owner(app)

    def _look_at_packages(self, ended: Ended) -> None:
        """Look whether packages of the header could not be installed; the session's machine goes on without them.

        A stopped run ends as stopped.

        Raises:
            MachineError: they could not; the run did not begin.
        """
        need = ended.need
        if need is None or ended.stopped or not ended.lacks("packages"):
            return
        error = packages_error(need, self.machine)
        self.open_run = None
        self.machine = replace(self.machine, pip=tuple(p for p in self.machine.pip if p not in need.packages))
        raise error

    def check_owner(self, app: OpenApp | None) -> None:
        """Check that no other kernel has the session of an App; an App that ends with its kernel has no other.

        Raises:
            TakenOver: one has.
            SessionEnded: one has ended it.
        """
        if not isinstance(app, DeployedApp):
            return
        try:
            app.check_owner()
        except TakenOver as error:
            self.taken_over(str(error))
            raise


def new_run() -> str:
    """Return the id of a new run."""
    return f"{kernel_id()}-{next(_numbers)}"


def changed_by(facts: CellFacts, outgoing: Outgoing) -> frozenset[str] | None:
    """Return the names that a cell may change; None: any name."""
    names = facts.names
    if names.any_name:
        return None
    reached = frozenset({*names.reads, *names.binds, *names.mutates, *names.deletes})
    return reached.union(outgoing.reached, outgoing.values, outgoing.may_change)
