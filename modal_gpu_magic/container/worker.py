"""The container side of a session: each request runs one cell and returns one answer, whatever user code does.

For each cell, `Worker` checks the generation, reads the values sent, runs the cell, and returns values up to the size
limit.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic._version import __version__
from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES, SPAWN_BYTES
from modal_gpu_magic.container.cell.failures import failure_from, failure_of
from modal_gpu_magic.container.cell.shell import make_shell
from modal_gpu_magic.container.gpu import current
from modal_gpu_magic.container.gpu.sampler import Sampler
from modal_gpu_magic.container.output.capture import Capture
from modal_gpu_magic.container.output.event_sender import EventSender
from modal_gpu_magic.container.output.log_closing import LogClosing
from modal_gpu_magic.container.output.phase_log import PhaseLog
from modal_gpu_magic.container.output.run_log import RunLog
from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
from modal_gpu_magic.container.process.container_start import began_at
from modal_gpu_magic.container.process.guard import Guard
from modal_gpu_magic.container.process.interrupt import Interrupt
from modal_gpu_magic.container.process.watchdog import Watchdog, limit
from modal_gpu_magic.container.ranks import launcher
from modal_gpu_magic.container.ranks.launcher import Place, Ran
from modal_gpu_magic.container.state import cache, files, installs, session_mount
from modal_gpu_magic.container.state.installed_versions import Versions
from modal_gpu_magic.container.state.modules import LocalModules
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.process import ProcessState
from modal_gpu_magic.container.state.restoring import CHANGED_SINCE, NOT_RELATED, Plan, never
from modal_gpu_magic.container.state.saved_session import Options, SavedSession
from modal_gpu_magic.container.state.saving import Moment
from modal_gpu_magic.container.state.volumes import NO_VOLUMES, Volumes
from modal_gpu_magic.container.state.workdir import Workdir
from modal_gpu_magic.errors import CopyError, MachineError, TransferError
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore, Store
from modal_gpu_magic.wire.inspection.size import size_text
from modal_gpu_magic.wire.messages.compact import size_of
from modal_gpu_magic.wire.messages.events import (
    Answer,
    Asked,
    Event,
    Need,
    ProjectFiles,
    RemoteFile,
    Request,
    RunTrace,
    Transfer,
)
from modal_gpu_magic.wire.messages.parcel import MARGIN_BYTES
from modal_gpu_magic.wire.messages.seal import sealed
from modal_gpu_magic.wire.messages.segments import code_line, life_name, run_directory
from modal_gpu_magic.wire.pickles.loading import UnknownObjectsError
from modal_gpu_magic.wire.pickles.silent_warnings import unwarned
from modal_gpu_magic.wire.saved.places import STATE

if TYPE_CHECKING:
    from modal_gpu_magic.container.state.cell_values import OutgoingValues
    from modal_gpu_magic.metrics.sample import Reading

Post = Callable[[list[bytes]], None]
BEGIN_SECONDS = 1.0
"""Seconds that user code waits for `started` to be sent: a C call that holds the GIL stops the sender's thread.

With a shared store, a mark in the store replaces the wait: a round trip takes longer than a short cell."""
SAVING_SECONDS = 0.25
"""Seconds after user code for which events wait for the answer, which takes them along; a longer `saving` is shown."""
LARGE_BYTES = 1_000_000
"""Size of the sent values from which the status names the size."""
EVENT_BYTES = QUEUE_ITEM_BYTES
"""Largest answer that is sent as an event."""
COMMIT_SECONDS = 10.0
"""Seconds that a kernel which attaches waits for the end of the last run's log."""
LOOP_THREAD = "(thread_inner)"
"""End of the name of the thread with the SDK's event loop: synchronicity's, tested with 0.11 and 0.12."""
PREEMPTION_SECONDS = 10.0
"""Seconds after a stopped run in which the end of the container means that Modal has stopped the run."""
NOT_WITHOUT_A_CELL = (
    "the container has ended, and the value was saved before the last cell, or before this kernel attached: the next "
    "remote cell restores what was saved, and says what is lost."
)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def _threads_of_the_sdk() -> list[threading.Thread]:
    """Return the threads of the SDK's event loop."""
    return [thread for thread in threading.enumerate() if thread.name.endswith(LOOP_THREAD)]


class Worker:
    """The container side of a session. Modal calls `run` once per cell, on the main thread."""

    def __init__(self, session: str, place: Place | None = None) -> None:
        self.session, self.place = session, place or Place()
        self.container = self.generation = uuid.uuid4().hex[:12]
        self.booted_at = began_at(os.environ)
        cache.settle(os.environ)
        self.workdir = Workdir(Path.cwd())
        self.sender = EventSender()
        self.phases = PhaseLog(self.sender)
        self.capture = Capture(self.sender)
        self.sampler = Sampler(self._sample)
        self.input_proxy = StdinProxy(self.sender)
        self.shell = make_shell(self.sender, self.input_proxy.ask)
        self.namespace_sync = NamespaceSync(self.shell.user_ns, self.shell.user_ns)
        self.shell.why_unbound = self.namespace_sync.why_unbound
        self.modules = LocalModules(self.workdir)
        self.versions = Versions()
        self.process = ProcessState(self.shell)
        self.guard = Guard((self.sender.thread, *_threads_of_the_sdk()))
        self.guard.start()
        self._has_run = False
        self.last: Answer | None = None
        self.last_run = ""
        self._abandoned: set[str] = set()
        """Runs that the notebook gave up before their requests arrived. They must not begin."""
        self._stores: dict[str, SharedStore] = {}
        self._owner = ""
        """The claim of the kernel that may send runs to a detached session."""
        self._call = ""
        self._unseen: tuple[str, ...] = ()
        """Names that runs have returned to kernels which had ended: another one that attaches gets their values."""
        self._log_closing = LogClosing()
        self._former: set[str] = set()
        """Claims that ended: another kernel has attached since."""
        self._done: tuple[Request, tuple[object, ...]] | None = None
        """The last run without its values, and its result: what a kernel that attaches is to get."""
        self._files: set[str] = set()
        """Files of the copy of the project that cells wrote."""
        self._is_unsaid = False
        """Whether the state was restored, and the notebook does not know that the container is another one."""
        self._directory = None if self.place.stateless else session_mount.mounted(session)
        state = None if self._directory is None else self._directory / STATE
        self.saved = SavedSession(state, self.container, self.namespace_sync, self._moment)

    def run(
        self,
        request: Request,
        post: Post,
        answer: Callable[[], str],
        volumes: Volumes = NO_VOLUMES,
        commit: Callable[[], object] = never,
        *,
        call: str = "",
    ) -> Answer:
        """Run one cell. Never raises for an error in user code: the answer states how the cell ended.

        Args:
            request: the run.
            post: puts frames into the queue.
            answer: waits for the answer of `input()`.
            volumes: the user's Volumes.
            commit: commits the session Volume.
            call: Modal's id of this call.
        """
        if (known := self.known(request.run)) is not None:
            return known
        # No signal can interrupt the transfer of values from here on.
        with Interrupt(self.sender.say_stopping) as interrupt, self.saved.busy():
            self.saved.options(Options(request.save, commit))
            need = self._need(request)
            if need is not None:
                return self._answer(need=need)
            self._unseen = self._unseen_names(request.owner)
            self.last = None  # free its values, which may be large: no request asks for them again
            self._done = None
            self._claim(request.owner)
            self._log_closing.begins(request.owner)
            name = f"{request.run}/{self.container}"
            record = self._record(request, name, commit)
            self._call = call
            self.sender.begin(name, post, record)
            self.phases.clear()
            self.shell.kernel.facts = request.kernel
            self._look_at_gpus(request.asked)
            self.input_proxy.begin(answer if request.stdin else None, request.background)
            seconds, budget = limit(request.timeout, request.spending, self._billed())
            watchdog = Watchdog(interrupt, seconds, self.sender.flush_now, budget=budget)
            with watchdog, self.guard.ends_if_unable():
                ended = self._cell(request, interrupt, volumes)
                self.capture.drain()
                is_event = self._close(request, ended, interrupt)
                self.last, self.last_run = self._with_tail(ended), request.run
            if record is not None:
                if self.place.stateless and self.place.node == 0:
                    record.add_values(sealed(self._handed_values()))
                self._log_closing.close(record, self.last, request.owner)
        if is_event and not interrupt.asked and not self.place.stateless:
            return replace(self._answer(), is_event=True, frames=self.last.frames, events=self.last.events)
        return self.last

    def _billed(self) -> float:
        """Return the seconds that were billed for a run before it arrived: the container's start, for its first run."""
        is_first, self._has_run = not self._has_run, True
        return max(0.0, time.time() - self.booted_at) if is_first and self.booted_at else 0.0

    def known(self, run: str) -> Answer | None:
        """Return the answer of a run that Modal delivers twice, or that must not begin; None: the run is new."""
        if run == self.last_run and self.last is not None:
            return self.last
        return self._answer(need=Need(self.generation, "generation")) if run in self._abandoned else None

    def ended(self, run: str) -> Answer | None:
        """Return the answer of a run whose answer was lost in transit. None: the run did not and will not begin."""
        if run == self.last_run:
            return self.last
        self._abandoned.add(run)
        return None

    def fetch(
        self,
        names: tuple[str, ...],
        store: str | None,
        received: tuple[int, ...] = (),
        forgot: tuple[int, ...] = (),
        generation: str | None = None,
        history: tuple[RunTrace, ...] = (),
        owner: str = "",
    ) -> Transfer:
        """Pack values that stayed in the container.

        Args:
            names: the values, by name or by token.
            store: directory of shared buffers; None: the message has them.
            received: first tokens of the earlier fetches that arrived.
            forgot: tokens of objects that the notebook has given up.
            generation: the life of the namespace that has the values; None: this container's.
            history: the runs that the notebook knows (`Request.history`).
            owner: the kernel's claim on a detached session.

        Raises:
            TransferError: the claim has ended, so that the kernel's tokens mean other objects.
        """
        if owner in self._former:
            raise TransferError(f"another kernel has attached to the session: %modal_gpu attach {self.session}")
        with unwarned(), Interrupt(), self.saved.busy():
            self._restore_for_fetch(generation, history, received, owner)
            self.saved.restore(names)
            self.saved.fetched()
            return self.namespace_sync.take(names, self._store(store), received, forgot)

    def hand_over(self, owner: str, run: str, store: str | None) -> Answer:
        """Give the session to a kernel that attaches: the values that `run` would have brought, and all other names.

        The kernel has no object of the container, so the answer is packed for an empty table.
        """
        self._log_closing.finish(COMMIT_SECONDS)  # the kernel looks for runs that nobody has announced
        with unwarned(), Interrupt(), self.saved.busy():
            self.saved.restore(self.namespace_sync.names)
            self._claim(owner)
            self.saved.fetched()
            request, result = self._done if self._done is not None and self._done[0].run == run else (None, ())
            returned = (*self._unseen, *self._returned) if request is not None else ()
            leaving = self.namespace_sync.introduce(request, returned, result, self._store(store))
        return self._answer(leaving=leaving)

    @unwarned()
    def _handed_values(self) -> Answer:
        """Return the values that the last run has returned as `hand_over` does, for a container that keeps none."""
        (request, result), self._done = self._done or (None, ()), None
        leaving = self.namespace_sync.introduce(request, self._returned, result, InlineStore(), is_all=True)
        handed, last = self._answer(leaving=leaving), self.last or self._answer()
        return replace(handed, stays=last.stays, imported=last.imported, submodules=last.submodules)

    @property
    def _returned(self) -> tuple[str, ...]:
        """The names that the last run has returned."""
        return tuple(self.last.values.names) if self.last is not None and self.last.values else ()

    def _unseen_names(self, owner: str) -> tuple[str, ...]:
        """Return the names that runs of other kernels than the present sender have returned last."""
        return () if owner == self._owner else tuple(dict.fromkeys((*self._unseen, *self._returned)))

    def _claim(self, owner: str) -> None:
        """Give the session to a kernel, which shares no object with the container if another one had it."""
        if owner == self._owner:
            return
        if self._owner:
            self._former.add(self._owner)
            self.namespace_sync.forget()
            for store in self._stores.values():  # the former kernel may have ended without removing it
                store.remove()
            self._stores.clear()
        self._owner = owner

    def _record(self, request: Request, name: str, commit: Callable[[], object]) -> RunLog | None:
        """Return the log of a detached run; None: the run has none."""
        if not request.log or session_mount.mounted(request.log) is None:
            return None
        life = life_name(time.time(), self.container)
        directory = session_mount.top() / run_directory(request.log, request.run) / life
        return RunLog(directory, commit, self._say, name)

    def save(self) -> dict[str, str] | None:
        """Save the state now; return what is not saved, with the reasons. None: nothing could be saved."""
        return self.saved.save_now()

    def listed(self, generation: str, path: str) -> tuple[RemoteFile, ...]:
        """List the file at a path of the working directory, or all files below the path.

        Raises:
            CopyError: another container held the files.
        """
        self._check(generation)
        return files.listed(self.namespace_sync.root, path)

    def part(self, generation: str, path: str, offset: int, nbytes: int) -> bytes:
        """Read up to `nbytes` bytes of a file from `offset`; fewer at the end of the file.

        Raises:
            CopyError: another container held the file.
            OSError: the file cannot be read.
        """
        self._check(generation)
        return files.part(self.namespace_sync.root, path, offset, nbytes)

    def replay(self, run: str, number: int) -> tuple[Event, ...]:
        """Return the events of the last run from `number` on; none if `run` is another run."""
        return self.sender.events_from(number) if run == self.last_run else ()

    def close(self) -> None:
        """Stop sampling, send the remaining output and save the state: Modal scales the container down."""
        self.sampler.close()
        self.capture.drain()
        self._log_closing.finish()
        if self.last is not None and self.last.stopped and time.time() - self.last.made_at < PREEMPTION_SECONDS:
            return  # Modal has interrupted the run, and runs it again in the next container
        self.saved.save_now()

    def lacks_parts(self) -> Answer:
        """Return the answer to a request whose parts did not come."""
        return self._answer(need=Need(self.generation, "parts"))

    def _close(self, request: Request, ended: Answer, interrupt: Interrupt) -> bool:
        """Send the answer as an event if its result would be lost or slow; return whether it was sent.

        After ■, the server discards the result. In the cloud, the SDK sends a large result as a blob: more round trips.
        """
        return (interrupt.asked or self._is_slow(request, ended)) and self._say_end(ended)

    def _is_slow(self, request: Request, ended: Answer) -> bool:
        if request.store is not None or self.place.stateless or (ended.values and ended.values.nbytes > EVENT_BYTES):
            return False
        return self.sender.unsent_bytes + size_of(ended) + MARGIN_BYTES > SPAWN_BYTES

    def _say_end(self, ended: Answer) -> bool:
        self.sender.emit("end", answer=ended)
        return self.sender.flush_now()

    def _check(self, generation: str) -> None:
        if generation != self.generation:
            lost = self._directory is None
            raise CopyError(
                "the container was replaced, and the files of the earlier one are lost."
                if lost
                else "the container was replaced: the session's next cell restores the files that were saved."
            )

    def _look_at_gpus(self, asked: Asked) -> None:
        read = self.sampler.readings
        current.publish(asked, read[-1].samples if read else (), os.environ)
        if asked.specs:
            self.sampler.begin(current.certain_count(asked))
        else:
            self.sampler.begin_without_gpus()

    def _sample(self, reading: Reading, running: bool) -> None:  # noqa: FBT001 - the sampler's callback signature
        place = {"time": reading.time, "node": self.place.node, "running": running}
        self.sender.emit("sample", **place, rows=reading.rows, **reading.beside)

    def _need(self, request: Request) -> Need | None:
        """Return the reason why this container cannot run the request, or None. No user code has run yet."""
        if request.version != __version__:
            return Need(self.generation, "version", version=__version__)
        if request.python and request.python != PYTHON:
            return Need(self.generation, "python", version=PYTHON)
        if request.owner in self._former:
            return Need(self.generation, "owner")
        if request.generation is not None and (request.generation != self.generation or self._is_unsaid):
            return self._of_another_container(request.generation, request.history, request.fetched, request.owner)
        store = self._store(request.store, request.values)
        missing = tuple(key for key in request.values.buffers if not store.has(key))
        return Need(self.generation, "buffers", missing) if missing else None

    def _of_another_container(
        self, generation: str, history: tuple[RunTrace, ...], fetched: tuple[int, ...], owner: str
    ) -> Need:
        """Go on with the saved state of the container that has ended, if it fits; say what the notebook must send."""
        if generation != self.generation:
            plan = self._plan(generation, history, fetched, owner)
            if isinstance(plan, str):
                return Need(self.generation, "generation", why={"": plan})
            self._take(plan, generation, owner)
            if not plan.continues:
                self.saved.begin()
                why = {"": CHANGED_SINCE} | self.namespace_sync.unrestored
                return Need(self.generation, "rewound", restored=self.namespace_sync.names, why=why)
        self._is_unsaid = False
        state = self.saved.state
        names, why = (
            (self.namespace_sync.names, self.namespace_sync.unrestored)
            if state is None
            else (state.names, state.unsaved)
        )
        forgot = self.namespace_sync.table.forgotten() if state is None else state.manifest.sync.forgotten
        return Need(self.generation, "restored", restored=names, why=dict(why), forgot=forgot)

    def _plan(self, generation: str, history: tuple[RunTrace, ...], fetched: tuple[int, ...], owner: str) -> Plan | str:
        """Return how this container can go on with a namespace, or why it cannot."""
        if self.saved.has_run:
            return NOT_RELATED
        return self.saved.plan(generation, history, fetched, PYTHON, owner)

    def _take(self, plan: Plan, generation: str, owner: str) -> None:
        """Go on with the namespace of a saved state."""
        self.saved.take(plan)
        if plan.continues:
            self.generation, self._owner, self._is_unsaid = generation, owner, True

    def _restore_for_fetch(
        self, generation: str | None, history: tuple[RunTrace, ...], fetched: tuple[int, ...], owner: str
    ) -> None:
        """Go on with the saved state, if the container of a fetched value has ended.

        Raises:
            MachineError: the value is lost.
        """
        if generation is None or generation == self.generation:
            return
        plan = self._plan(generation, history, fetched, owner)
        if isinstance(plan, str):
            raise MachineError(f"the value is lost: {plan}. Run the cell that made it again.")
        if not plan.continues:
            raise MachineError(NOT_WITHOUT_A_CELL)
        self._take(plan, generation, owner)
        self._restore_surroundings()

    def _restore_surroundings(self) -> None:
        """Restore what saved values may need: packages and files."""
        state = self.saved.state
        if state is None:
            return
        if lacking := installs.wanted(state.manifest.packages, {}):
            installs.install(lacking, self._say)
        self._files.update(file.path for file in state.manifest.files)
        failed = self.saved.restore_files(self.workdir.tree)
        self._files.difference_update(failed)
        for path, why in failed.items():
            self._say(f"The file `{path}` is lost: {why}.")

    def _moment(self) -> Moment:
        """Return what is saved beside the values."""
        return Moment(
            generation=self.generation,
            claim=self._owner,
            python=PYTHON,
            states=self.process.latest(),
            packages=installs.done(),
            tree=self.workdir.tree,
            place=self.workdir.place,
            files=tuple(self._files),
        )

    def _cell(self, request: Request, interrupt: Interrupt, volumes: Volumes) -> Answer:
        store = self._store(request.store, request.values)
        self._say_started(request, store)
        refused = self._prepare(request, volumes)
        try:
            with unwarned():
                failed = self.versions.explain(self.namespace_sync.arrive(request, store))
                self.shell.take_underscores()
                before = self.namespace_sync.before(request, store)
        except UnknownObjectsError:
            return self._answer(need=Need(self.generation, "objects"))
        lacking = {name: why for name, why in failed.items() if name not in request.maybe}
        if lacking:
            return self._refused(lacking)
        self._say_begun(request, store)
        self.saved.ran(request.run)
        self.process.begin()
        self.guard.user_code_began = True
        ran = self._ran(request, interrupt)
        self.sender.hold(SAVING_SECONDS)
        self.phases.enter("saving", at=ran.ended_at)
        states = self.process.changes()
        volumes.commit(self._say)
        written = () if self.place.stateless else self.namespace_sync.watch.written(ran.started_at)
        self._note_files()
        wrote = tuple((self.workdir.name(path), nbytes) for path, nbytes in written)
        with unwarned():
            leaving = self.namespace_sync.leave(request, before, ran.result, ran.seconds, self._store(request.store))
        if request.log:
            self._done = replace(request, values=Transfer(), modules=None, files=ProjectFiles()), ran.result
        answer = self._answer(
            ran=ran, leaving=leaving.without(ran.lost), failed=failed, wrote=wrote, interrupt=interrupt
        )
        return replace(answer, states=states, refused=refused)

    def _say_started(self, request: Request, store: Store) -> None:
        sent = {"count": request.execution_count, "timeout": request.timeout, "code": code_line(request.source)}
        self.sender.emit(
            "started",
            generation=self.container,
            time=time.time(),
            booted_at=self.booted_at,
            call=self._call,
            **(sent if request.log else {}),
        )
        if not isinstance(store, SharedStore):
            self.sender.flush_now(0)

    def _prepare(self, request: Request, volumes: Volumes) -> tuple[str, ...]:
        """Bring the process into the notebook's state, without values; return files not overwritten."""
        restored = size_text(request.values.nbytes) if request.values.nbytes >= LARGE_BYTES else "values"
        self.phases.enter("restoring", restored)
        if request.clean:
            self._clean()
        if request.generation is None:
            self.namespace_sync.forget()
            if not request.restores_any:
                self.saved.give_up()
            elif not self.saved.has_run and isinstance(plan := self.saved.plan_any(PYTHON), Plan):
                self.saved.take(plan)
                self.process.take(plan.state.manifest.states)
        self._restore_surroundings()
        if lacking_packages := installs.wanted(request.installs, request.imports):
            self.phases.enter("installing", ", ".join(lacking_packages))
            installs.install(lacking_packages, self._say)
            self.phases.enter("restoring", restored)
        self.workdir.enter(request.files.place)
        self.process.begin_in(self.workdir.path)
        if request.modules is not None:
            self.modules.take(request.modules, self.shell.user_ns)
        refused = self._take_files(request)
        volumes.reload(self._say)
        for line in self.versions.compare(request.versions):
            self._say(line)
        self.process.take(request.states)
        self.shell.use_comms()
        if line := self.saved.restore_for(request):
            self._say(line)
        for line in self.saved.take_news():
            self._say(line)
        return refused

    def _say_begun(self, request: Request, store: Store) -> None:
        """Tell the kernel that user code begins, so that no other container runs the cell, too."""
        if request.distributed is None:  # ranks say themselves when their code begins
            self.phases.enter("running")
        if not (isinstance(store, SharedStore) and store.mark(request.run)):
            self.sender.flush_now(BEGIN_SECONDS)

    def _refused(self, lacking: dict[str, str]) -> Answer:
        """Build the answer of a cell that cannot begin because values that the cell reads could not be made."""
        words = "\n".join(f"Cannot make `{name}` in the container: {why}." for name, why in lacking.items())
        now = time.time()
        failure = failure_from(TransferError(f"{words}\nThe cell did not run."))
        return replace(self._answer(ran=Ran((), failure, (), now, now)), failed=lacking)

    def _note_files(self) -> None:
        """Note the files that cells wrote, which are saved with the values."""
        watch, tree = self.namespace_sync.watch, self.workdir.tree
        for path in watch.take_changed():
            with contextlib.suppress(ValueError):  # outside of the copy of the project
                self._files.add(str((watch.root / path).relative_to(tree)))

    def _take_files(self, request: Request) -> tuple[str, ...]:
        """Write the project's files; return those not overwritten because a cell changed them. A note names each."""
        arrived = self.workdir.take(request.files)
        if self.namespace_sync.root != self.workdir.path:  # the notebook's kernel changed its directory
            self.namespace_sync.root = self.workdir.path
            self.namespace_sync.watch = files.Watch(self.workdir.tree)
        sent = (
            (*arrived, *(path[1:] for path in request.modules.paths if path[0] == "/")) if request.modules else arrived
        )
        self.namespace_sync.watch.note(sent)
        notes, refused = self.workdir.take_notes()
        for note in notes:
            self._say(note)
        return refused

    def _ran(self, request: Request, interrupt: Interrupt) -> Ran:
        """Run user code: in this process, or in ranks."""
        started = time.time()
        if request.distributed is None:
            self.phases.enter("running", at=started)
        self.sampler.starts(started)
        if request.distributed is not None:
            ranked = replace(request, states=self.process.everything())
            ran = launcher.run(ranked, self.place, self.shell, self.sender, self.input_proxy, interrupt, self.phases)
            self.process.take(ran.states)
        else:
            outcome = self.shell.run(request.source, request.execution_count, interrupt)
            self.guard.look()
            with unwarned():
                ran = Ran(outcome.result, failure_of(outcome, self.shell.user_ns), (), started, time.time())
        self.sampler.ends(ran.ended_at)
        return ran

    def _say(self, text: str) -> None:
        self.sender.emit("note", text=text)

    def _clean(self) -> None:
        """Empty the namespace (`--clean`), as a restart does; imported modules stay loaded."""
        for name in self.namespace_sync.bound_names:
            del self.shell.user_ns[name]
        self.saved.give_up()
        self.namespace_sync.forget()

    def _store(self, directory: str | None, values: Transfer | None = None) -> Store:
        if directory is None:
            return InlineStore(dict(values.inline) if values else {})
        if directory not in self._stores:
            self._stores[directory] = SharedStore(directory)
        return self._stores[directory]

    def _with_tail(self, ended: Answer) -> Answer:
        finished = self.sender.finish()
        return replace(ended, frames=finished.frames, events=finished.events, tail=finished.tail, made_at=time.time())

    def _answer(
        self,
        *,
        need: Need | None = None,
        ran: Ran | None = None,
        leaving: OutgoingValues | None = None,
        failed: dict[str, str] | None = None,
        wrote: tuple[tuple[str, int], ...] = (),
        interrupt: Interrupt | None = None,
    ) -> Answer:
        return Answer(
            generation=self.generation,
            version=__version__,
            need=need,
            values=leaving.values if leaving else None,
            stays=leaving.stays if leaving else (),
            redescribed=leaving.redescribed if leaving else (),
            stale=leaving.stale if leaving else (),
            shares=leaving.shares if leaving else {},
            forgot=leaving.forgot if leaving else (),
            gone=leaving.gone if leaving else (),
            imported=leaving.imported if leaving else {},
            looks=leaving.looks if leaving else {},
            submodules=leaving.submodules if leaving else (),
            failed=failed or {},
            versions=self.versions.of(leaving.values.modules) if leaving else {},
            wrote=wrote,
            failure=ran.failure if ran else None,
            stopped=bool(interrupt and interrupt.asked),
            timed_out=bool(interrupt and interrupt.timed_out),
            over=interrupt.over if interrupt else "",
            started_at=ran.started_at if ran else 0.0,
            ended_at=ran.ended_at if ran else 0.0,
            booted_at=self.booted_at,
            phases=self.phases.began,
            made_at=time.time(),
            names=self.namespace_sync.names,
            container=self.container,
            saved_run=self.saved.saved_run,
            lost=dict(self.namespace_sync.unrestored),
            simulated=current.is_simulated(os.environ),
        )
