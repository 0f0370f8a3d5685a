"""The container side of a session: each request runs one cell and returns one answer, whatever user code does.

For each cell, `Worker` checks the generation, reads the values sent, runs the cell, and returns values up to the size
limit.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from modal_gpu_magic._version import __version__
from modal_gpu_magic.container.cell.failures import failure_from, failure_of
from modal_gpu_magic.container.cell.shell import make_shell
from modal_gpu_magic.container.gpu import current
from modal_gpu_magic.container.gpu.sampler import Sampler
from modal_gpu_magic.container.output.answer_delivery import AnswerDelivery
from modal_gpu_magic.container.output.capture import Capture
from modal_gpu_magic.container.output.event_sender import EventSender
from modal_gpu_magic.container.output.log_closing import LogClosing
from modal_gpu_magic.container.output.phase_log import PhaseLog
from modal_gpu_magic.container.output.run_log import RunLog
from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
from modal_gpu_magic.container.process.container_start import began_at
from modal_gpu_magic.container.process.guard import Guard, sdk_threads
from modal_gpu_magic.container.process.interrupt import Interrupt
from modal_gpu_magic.container.process.watchdog import Watchdog, limit
from modal_gpu_magic.container.ranks import launcher
from modal_gpu_magic.container.ranks.launcher import Place, Ran
from modal_gpu_magic.container.state import cache, files, installs, session_mount
from modal_gpu_magic.container.state.continuation import Continuation
from modal_gpu_magic.container.state.installed_versions import PYTHON
from modal_gpu_magic.container.state.kernel_stores import KernelStores
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.ownership import Ownership
from modal_gpu_magic.container.state.process import ProcessState
from modal_gpu_magic.container.state.saved_session import Options, SavedSession
from modal_gpu_magic.container.state.session_mount import NO_SESSION_VOLUME, SessionVolume
from modal_gpu_magic.container.state.surroundings import Surroundings
from modal_gpu_magic.container.state.volumes import NO_VOLUMES, Volumes
from modal_gpu_magic.container.state.workdir import working_directory
from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.stores import SharedStore, Store
from modal_gpu_magic.wire.inspection.size import size_text
from modal_gpu_magic.wire.messages.events import Answer, Asked, Need, RemoteFile, Request, RunTrace, Transfer
from modal_gpu_magic.wire.messages.place_names import place_in
from modal_gpu_magic.wire.messages.seal import sealed
from modal_gpu_magic.wire.messages.segments import code_line, life_name, run_directory
from modal_gpu_magic.wire.pickles.loading import UnknownObjectsError
from modal_gpu_magic.wire.saved.places import STATE
from modal_gpu_magic.wire.values.silent_warnings import unwarned

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
COMMIT_SECONDS = 10.0
"""Seconds that a kernel which attaches waits for the end of the last run's log."""
LAST_WORDS_SECONDS = 2.0
"""Seconds to send why the container ends."""
PREEMPTION_SECONDS = 10.0
"""Seconds after a stopped run in which the end of the container means that Modal has stopped the run."""


class Worker:
    """The container side of a session. Modal calls `run` once per cell, on the main thread.

    Args:
        session: name of the session.
        place: the container's position in a cluster; None: the container is a session's only one.

    Attributes:
        session: name of the session.
        place: the container's position in its cluster.
        container: name of this container.
        booted_at: when the container began, Unix seconds; 0: unknown.
        sender: sends the events of runs.
        phases: the phases of the current run.
        capture: makes events of the process's output.
        sampler: makes events of the GPUs' readings.
        input_proxy: asks the notebook for the answers of `input()`.
        shell: runs user code.
        namespace_sync: the variables, and what the notebook has of them.
        process: the process's state as cells see it.
        surroundings: directory, files, modules, packages.
        guard: ends the process if a cell has made it unusable.
        delivery: the last answer, and how an answer reaches the kernel.
        stores: the buffers of the kernel that has the session.
        ownership: the kernel that has the session, and what the next one gets.
        saved: the saved state.
        continuation: the generation, and how this container goes on with another container's namespace.
    """

    def __init__(self, session: str, place: Place | None = None) -> None:
        self.session, self.place = session, place or Place()
        self.container = uuid.uuid4().hex[:12]
        self.booted_at = began_at(os.environ)
        cache.settle(os.environ)
        self.sender = EventSender()
        self.phases = PhaseLog(self.sender)
        self.capture = Capture(self.sender)
        self.sampler = Sampler(self._sample)
        self.input_proxy = StdinProxy(self.sender)
        self.shell = make_shell(self.sender, self.input_proxy.ask)
        self.namespace_sync = NamespaceSync(self.shell.user_ns, self.shell.user_ns)
        self.shell.binds_anew = self.namespace_sync.user_names.hidden.update
        self.shell.why_unbound = self.namespace_sync.unloaded.why_unbound
        self.process = ProcessState(self.shell)
        self.surroundings = Surroundings(self.namespace_sync, self.process, self._say)
        self.guard = Guard((self.sender.thread, *sdk_threads()), self._say_why_it_ends)
        self.guard.start()
        self.delivery = AnswerDelivery(self.sender)
        self.stores = KernelStores()
        self.ownership = Ownership(self.namespace_sync, self.stores)
        directory = None if self.place.stateless else session_mount.mounted(session)
        self.saved = SavedSession(
            None if directory is None else directory / STATE,
            self.container,
            self.namespace_sync,
            lambda: self.surroundings.moment(self.generation, self.ownership.claim),
        )
        self.continuation = Continuation(self.container, self.namespace_sync, self.saved, self.ownership)
        self._log_closing = LogClosing()
        """The log of the last run of a detached session."""
        self._has_run = False
        """Whether a run has begun, and the container's start was counted in its budget."""

    @property
    def generation(self) -> str:
        """The life of the namespace."""
        return self.continuation.generation

    def run(
        self,
        request: Request,
        post: Post,
        answer: Callable[[], str],
        volumes: Volumes = NO_VOLUMES,
        volume: SessionVolume = NO_SESSION_VOLUME,
        *,
        call: str = "",
    ) -> Answer:
        """Run one cell. Never raises for an error in user code: the answer states how the cell ended.

        Args:
            request: the run.
            post: puts frames into the queue.
            answer: waits for the answer of `input()`.
            volumes: the user's Volumes.
            volume: the session Volume.
            call: Modal's id of this call.
        """
        if (known := self.known(request.run)) is not None:
            return known
        # No signal can interrupt the transfer of values from here on.
        with Interrupt(self.sender.say_stopping) as interrupt, self.saved.busy():
            self.saved.options(Options(request.save, volume))
            if (need := self._need(request)) is not None:
                return self._answer(need)
            self.delivery.begin()
            self.ownership.begin_run(request.owner)
            self._log_closing.begins(request.owner)
            name = f"{request.run}/{self.container}"
            record = self._record(request, name, volume.commit)
            self.sender.begin(name, post, record)
            self.phases.clear()
            self.shell.kernel.facts = request.kernel
            self._look_at_gpus(request.asked)
            self.input_proxy.begin(answer if request.stdin else None, request.background)
            seconds, budget = limit(request.timeout, request.spending, self._billed())
            watchdog = Watchdog(interrupt, seconds, self.sender.flush_now, budget=budget)
            with watchdog, self.guard.ends_if_unable():
                ended = self._cell(request, interrupt, volumes, call)
                self.capture.drain()
                is_event = self._close(request, ended, interrupt)
                last = self.delivery.end(request.run, ended)
            if record is not None:
                if self.place.stateless and self.place.node == 0:
                    record.add_values(sealed(self._returned_values(last)))
                self._log_closing.close(record, last, request.owner)
        if is_event and not interrupt.asked and not self.place.stateless:
            return replace(self._answer(), is_event=True, frames=last.frames, events=last.events)
        return last

    def _billed(self) -> float:
        """Return the seconds that were billed for a run before it arrived: the container's start, for its first run."""
        is_first, self._has_run = not self._has_run, True
        return max(0.0, time.time() - self.booted_at) if is_first and self.booted_at else 0.0

    def known(self, run: str) -> Answer | None:
        """Return the answer of a run that Modal delivers twice, or that must not begin; None: the run is new."""
        if (last := self.delivery.answer_of(run)) is not None:
            return last
        return self._answer(Need(self.generation, "generation")) if self.delivery.is_given_up(run) else None

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
        if self.ownership.has_ended(owner):
            raise TransferError(f"another kernel has attached to the session: %modal_gpu attach {self.session}")
        with Interrupt(), self.saved.busy(), unwarned():  # the work that `busy` interrupts is unwarned as well
            if self.continuation.continue_for_fetch(generation, history, received, owner):
                self.surroundings.restore(self.saved.state)
            self.saved.restore(names)
            self.saved.fetched()
            return self.namespace_sync.take(names, self.stores.store(store), received, forgot)

    def hand_over(self, owner: str, run: str, store: str | None) -> Answer:
        """Give the session to a kernel that attaches: the values that `run` would have brought, and all other names.

        The kernel has no object of the container, so the answer is packed for an empty table.
        """
        self._log_closing.finish(COMMIT_SECONDS)  # the kernel looks for runs that nobody has announced
        with Interrupt(), self.saved.busy(), unwarned():  # the work that `busy` interrupts is unwarned as well
            self.saved.restore(self.namespace_sync.names)
            self.saved.fetched()
            leaving = self.ownership.hand_over(owner, run, store)
        return self._answer(leaving=leaving)

    @unwarned()
    def _returned_values(self, last: Answer) -> Answer:
        """Return the values that the last run has returned as `hand_over` does, for a container that keeps none."""
        returned = self._answer(leaving=self.ownership.leave_all())
        return replace(returned, stays=last.stays, imported=last.imported, submodules=last.submodules)

    def _record(self, request: Request, name: str, commit: Callable[[], object]) -> RunLog | None:
        """Return the log of a detached run; None: the run has none."""
        if not request.log or session_mount.mounted(request.log) is None:
            return None
        life = life_name(time.time(), self.container)
        directory = session_mount.top() / run_directory(request.log, request.run) / life
        return RunLog(directory, commit, self._say, name)

    def listed(self, generation: str, path: str) -> tuple[RemoteFile, ...]:
        """List the file at a path of the working directory, or all files below the path.

        Raises:
            CopyError: another container held the files.
        """
        self.continuation.check_files(generation)
        return files.listed(self.namespace_sync.root, path)

    def part(self, generation: str, path: str, offset: int, nbytes: int) -> bytes:
        """Read up to `nbytes` bytes of a file from `offset`; fewer at the end of the file.

        Raises:
            CopyError: another container held the file.
            OSError: the file cannot be read.
        """
        self.continuation.check_files(generation)
        return files.part(self.namespace_sync.root, path, offset, nbytes)

    def close(self) -> None:
        """Stop sampling, send the remaining output and save the state: Modal scales the container down."""
        self.sampler.close()
        self.capture.drain()
        self._log_closing.finish()
        last = self.delivery.last
        if last is not None and last.stopped and time.time() - last.made_at < PREEMPTION_SECONDS:
            return  # Modal has interrupted the run, and runs it again in the next container
        self.saved.save_at_end()

    def lacks_parts(self) -> Answer:
        """Return the answer to a request whose parts did not come."""
        return self._answer(Need(self.generation, "parts"))

    def _close(self, request: Request, ended: Answer, interrupt: Interrupt) -> bool:
        """Send the answer as an event if its result would be lost or slow; return whether it was sent.

        After ■, the server discards the result. In the cloud, the SDK sends a large result as a blob: more round trips.
        """
        may_be_blob = request.store is None and not self.place.stateless
        is_due = interrupt.asked or (may_be_blob and self.delivery.is_slow(ended))
        return is_due and self.delivery.send_as_event(ended)

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
        if self.ownership.has_ended(request.owner):
            return Need(self.generation, "owner")
        if (need := self.continuation.need(request)) is not None:
            return need
        store = self.stores.store(request.store, request.values)
        missing = tuple(key for key in request.values.buffers if not store.has(key))
        return Need(self.generation, "buffers", missing) if missing else None

    def _cell(self, request: Request, interrupt: Interrupt, volumes: Volumes, call: str) -> Answer:
        """Read the values, run user code and choose what returns."""
        store = self.stores.store(request.store, request.values)
        self._say_started(request, store, call)
        self._restore_surroundings(request)
        if (need := self._install(request)) is not None:
            return self._answer(need)
        refused = self._prepare(request, volumes)
        try:
            with unwarned():
                failed = self.surroundings.versions.explain(self.namespace_sync.arrive(request, store))
                self.shell.take_underscores()
                before = self.namespace_sync.before(request, store)
        except UnknownObjectsError:
            return self._answer(Need(self.generation, "objects"))
        lacking = {name: why for name, why in failed.items() if name not in request.maybe and place_in(name) is None}
        if lacking:
            return self._refused(lacking)
        self._say_begun(request, store)
        self.saved.ran(request.run)
        self.process.begin()
        self.guard.user_code_began = True
        directory = working_directory()
        ran = self._ran(request, interrupt)
        self.sender.hold(SAVING_SECONDS)
        self.phases.enter("saving", at=ran.ended_at)
        states = self.process.changes()
        directory = "" if self.place.stateless else self.surroundings.workdir.changed_to(directory)
        volumes.commit(self._say)
        wrote = () if self.place.stateless else self.surroundings.written(ran.started_at)
        outgoing = self.stores.store(request.store)
        with unwarned():
            leaving = self.namespace_sync.leave(request, before, ran.result, ran.seconds, outgoing)
        self.ownership.end_run(request, ran.result, leaving.values.names)
        return replace(
            self._answer(leaving=leaving.without(ran.lost)),
            failed=failed,
            wrote=wrote,
            states=states,
            directory=directory,
            refused=refused,
            failure=ran.failure,
            stopped=interrupt.asked,
            timed_out=interrupt.timed_out,
            over=interrupt.over,
            started_at=ran.started_at,
            ended_at=ran.ended_at,
        )

    def _say_started(self, request: Request, store: Store, call: str) -> None:
        sent = {"count": request.execution_count, "timeout": request.timeout, "code": code_line(request.source)}
        self.sender.emit(
            "started",
            generation=self.container,
            time=time.time(),
            booted_at=self.booted_at,
            call=call,
            **(sent if request.log else {}),
        )
        if not isinstance(store, SharedStore):
            self.sender.flush_now(0)

    def _restore_surroundings(self, request: Request) -> None:
        """Begin a new namespace if the request asks for one; restore files and packages of the saved state."""
        self.phases.enter("restoring", _size_of_values(request))
        if request.clean:
            self.continuation.empty()
        if request.generation is None:
            self.process.take(self.continuation.begin(restores_any=request.restores_any))
        self.surroundings.restore(self.saved.state)

    def _install(self, request: Request) -> Need | None:
        """Install what `--pip` names and the cell imports; return a need if the packages of `--pip` fail."""
        named = installs.wanted(request.installs)
        if named:
            self.phases.enter("installing", ", ".join(named))
            if log := installs.install(named, self._say):
                return Need(self.generation, "packages", packages=named, why={"": log})
        if imported := installs.wanted(installs.missing(request.imports)):
            self.phases.enter("installing", ", ".join(imported))
            installs.install_or_say(imported, self._say)
        return None

    def _prepare(self, request: Request, volumes: Volumes) -> tuple[str, ...]:
        """Bring the process into the notebook's state, without values; return files not overwritten."""
        self.phases.enter("restoring", _size_of_values(request))
        refused = self.surroundings.prepare(request, volumes)
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
        return replace(self._answer(), failure=failure, started_at=now, ended_at=now, failed=lacking)

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

    def _say_why_it_ends(self, text: str, trace: str) -> None:
        """Show a sentence in the notebook, and write a traceback to the container's log."""
        self.capture.log(trace)
        self._say(text)
        self.sender.flush_now(LAST_WORDS_SECONDS)
        self.sender.write_log()

    def save(self) -> dict[str, str] | None:
        """Save the session's state now; return what is not saved, with the reasons. None: nothing could be saved."""
        with Interrupt():
            return self.saved.save_now()

    def _answer(self, need: Need | None = None, *, leaving: OutgoingValues | None = None) -> Answer:
        """Build an answer: the state of the container, and the values that leave it."""
        versions = self.surroundings.versions.of(leaving.values.modules) if leaving else {}
        answer = Answer(
            generation=self.generation,
            version=__version__,
            need=need,
            booted_at=self.booted_at,
            phases=self.phases.began,
            made_at=time.time(),
            names=self.namespace_sync.names,
            container=self.container,
            saved_run=self.saved.saved_run,
            last_run=self.saved.last_run,
            lost=dict(self.namespace_sync.unloaded.lost),
            simulated=current.is_simulated(os.environ),
        )
        return leaving.added_to(answer, versions) if leaving else answer


def _size_of_values(request: Request) -> str:
    """Return what the status names while values are restored: the size of large ones."""
    return size_text(request.values.nbytes) if request.values.nbytes >= LARGE_BYTES else "values"
