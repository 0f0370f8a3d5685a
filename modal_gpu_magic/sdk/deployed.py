"""The deployed App of one detached session: its runs, queue and Volume outlive the kernel that made them."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.catalog.limits import SESSION_MOUNT
from modal_gpu_magic.errors import GivenUp, MachineError, SessionEnded, SetupError, TakenOver
from modal_gpu_magic.sdk.announcing import Announcing
from modal_gpu_magic.sdk.app import CLUSTER, FOLLOWERS, Call, OpenApp
from modal_gpu_magic.sdk.faults import translate
from modal_gpu_magic.sdk.log_reader import LogReader, first_and_last
from modal_gpu_magic.sdk.modal_apps import stop_app
from modal_gpu_magic.sdk.patience import PATIENCE_SECONDS, patiently
from modal_gpu_magic.sdk.registry import Entry, Registry, Runs, SentRun, in_order, is_later, kernel_id
from modal_gpu_magic.sdk.session_volume import VolumeFiles
from modal_gpu_magic.sdk.threads import in_thread, result_of
from modal_gpu_magic.wire.messages.seal import sealed
from modal_gpu_magic.wire.messages.segments import code_line, run_of, run_of_node, runs_directory, without_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.client import Backend
    from modal_gpu_magic.sdk.held import Tell
    from modal_gpu_magic.wire.buffers.stores import SharedStore
    from modal_gpu_magic.wire.messages.events import Answer, Event, Request

RUNNER: Final = "Runner"
"""The name of the App's class."""
REPLAY_SECONDS: Final = 20.0
"""Seconds to wait for events that the log does not have yet: a commit takes as long as its upload."""
UNSENT_SECONDS: Final = 5.0
"""Seconds without a sign of a run whose spawn was never answered, after which the run counts as not sent."""
NOT_DEPLOYED: Final = (
    "the session {0} is not deployed: its image is being built, or its kernel ended before that. Attach again later, "
    "or write `%modal_gpu stop {0}` to remove it."
)
ENDED: Final = "The detached session {} was ended in another kernel; the next cell starts a new one."
LOOK_SECONDS: Final = 0.5
"""Seconds between two looks for the call of such a run."""
POLL_SECONDS: Final = 2.0
"""Seconds of one poll of the queue: a poll of a kernel that has ended its run may take another kernel's events."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What makes a session a detached one.

    Attributes:
        entry: the session, as this kernel claims it.
        exists: whether the session exists, so that this kernel attaches to it.
    """

    entry: Entry
    exists: bool = False


class DeployedApp(OpenApp):
    """The App of one detached session. `close` leaves the App as it is; `remove` ends it."""

    def __init__(self, machine: Machine, backend: Backend, packages: tuple[str, ...], deployment: Deployment) -> None:
        super().__init__(machine, backend, packages, deployment.entry.session)
        self.entry, self._exists = deployment.entry, deployment.exists
        self.registry = Registry(backend)
        self.volume: Any = None
        self._writing, self._changing = threading.Lock(), threading.Lock()
        self.announcing = Announcing(self.write_runs)
        self.queued: Callable[[], tuple[str, ...]] = tuple
        """Returns the first lines of the cells that wait in this kernel."""
        self._last_sent = ""
        self._answered_at = 0.0
        """When the container last answered a run, seconds since the epoch; 0: no container is known to run."""
        self._calls: dict[str, SentCall] = {}
        """Runs whose events are awaited. The queue is not read between them: another kernel may have the session."""
        self._awaits = threading.Event()
        self.poll_seconds = POLL_SECONDS

    @property
    def files(self) -> VolumeFiles:
        """The files of the session's Volume."""
        return VolumeFiles(self.volume)

    @property
    def saved_files(self) -> VolumeFiles | None:
        """The Volume with the saved states; None: this machine's sessions are not saved."""
        return self.files if self.machine.saves else None

    def _volumes(self) -> dict[str, Any]:
        return {SESSION_MOUNT: self.volume}

    @property
    def session_volume(self) -> str:
        """Modal's id of the session's Volume."""
        return str(self.volume.object_id)

    def _create(self, client: Any) -> Any:
        """Deploy the App, or find it.

        Raises:
            SetupError: the session exists, and this kernel has not attached to it; or it does not exist.
        """
        import modal
        from modal.exception import NotFoundError

        name, session = self.entry.app, self.entry.session
        found = self.registry.get(session)
        is_mine = found is not None and found.owner == self.entry.owner
        if found is not None and not (self._exists or is_mine):
            raise SetupError(exists_words(found))
        self._claim(found)
        self.queue = modal.Queue.from_name(name, create_if_missing=True, client=client)
        self.volume = modal.Volume.from_name(name, create_if_missing=True, client=client)
        self.queue.hydrate()
        self.volume.hydrate()
        self._hooks.callback(self.announcing.close)
        self._hooks.callback(self._stop_reading)
        if found is not None:
            self.find_runs()
        if self._exists or is_mine:
            try:
                app = modal.App.lookup(name, client=client)
                self._cls = deployed_runner(self.entry, client)
            except NotFoundError as error:  # its container was ended, and the App with it
                if not is_mine:
                    raise SetupError(NOT_DEPLOYED.format(session)) from error
            else:
                return app
        app = modal.App(name)
        self._cls = self.define(app)
        return app.deploy(name=name, client=client)

    def _claim(self, found: Entry | None) -> None:
        """Write into the registry that this kernel has the session."""
        runs = found.runs if found is not None else Runs()
        made_at = found.made_at if found is not None else time.time()
        self.entry = replace(self.entry, runs=runs.of_kernel(kernel_id()), made_at=made_at)
        self.registry.claim(self.entry)

    @property
    def owner(self) -> str:
        """This kernel's claim on the session."""
        return self.entry.owner

    def keep_warm(self, seconds: int) -> None:
        """Change how long an idle container stays, in seconds."""
        super().keep_warm(seconds)
        with self._changing:
            self.entry = self.entry.with_runs(replace(self.entry.runs, idle_seconds=seconds))
        self.write_runs()  # a kernel that attaches now must know it

    def terminate(self) -> None:
        """End the App and its containers; the session's next cell deploys the App again.

        Raises:
            KeyboardInterrupt: ■ was pressed. The App ends nevertheless.
        """
        result_of(in_thread(self._terminate, "modal-gpu-close"))

    def _terminate(self) -> None:
        with contextlib.suppress(Exception):
            stop_app(self.entry.app, self.backend.client)
        self.close()

    def _new_store(self) -> SharedStore | None:
        """Return a store of large buffers, which stays when the kernel ends: the run may go on."""
        return self.backend.new_store()

    def start(self, request: Request, tell: Tell, patience: float = PATIENCE_SECONDS) -> Call:
        """Start a run and return at once, as `OpenApp.start` does; `tell` also receives what the log has."""
        return self._follow(SentCall(self, request, tell, patience))

    def _follow(self, call: Call) -> Call:
        if isinstance(call, SentCall):
            self._calls[call.request.run] = call
        self._awaits.set()
        return super()._follow(call)

    def listen(self, run: str, tell: Tell) -> None:
        """Receive late output of a run that has ended, with that of the next run."""
        super().listen(run, tell)
        self._rest(run)

    def finish(self, run: str) -> None:
        """Stop listening to a run."""
        super().finish(run)
        self._rest(run)

    def _rest(self, run: str) -> None:
        call = self._calls.pop(run, None)
        if call is not None:
            call.reader.close()
        if not self._calls:
            self._awaits.clear()

    def _stop_reading(self) -> None:
        for run in [*self._calls]:
            self._rest(run)

    def _await_run(self) -> bool:
        return self._awaits.wait()

    def _wake_reader(self, reader: threading.Thread) -> None:
        self._awaits.set()
        super()._wake_reader(reader)

    def attach(self, request: Request, tell: Tell, call: str = "", patience: float = PATIENCE_SECONDS) -> Call:
        """Follow a run that another kernel has sent, from its first event on. `call`: Modal's id; empty: not known."""
        return self._follow(FoundCall(self, request, tell, call, patience))

    def hand_over(self, run: str) -> Answer:
        """Ask the container for the values of its last run and for all names, for a kernel that has none of them."""
        try:
            directory = None if self.store is None else str(self.store.directory)
            answer: Answer = self.runner.hand_over.remote(self.entry.owner, run, directory)
        except Exception as error:
            raise translate(error) from error
        self._answered_at = time.time()
        return answer

    def is_awake(self) -> bool:
        """Whether the session's container is running, or starts for a run that waits. This starts none."""
        try:
            stats = self.run_method.get_current_stats()
        except Exception as error:
            raise translate(error) from error
        return bool(stats.num_total_runners or stats.backlog)

    def find_runs(self) -> int:
        """Take runs into the list that only their logs know; return how many there are."""
        with self._changing:
            before, self.entry = self.entry, with_found(self.files, self.entry)
        return len(self.entry.runs.sent) - len(before.runs.sent)

    def knows(self, run: SentRun) -> None:
        """Take a run that was sent into the list of this kernel's claim, which `announcing` writes.

        This kernel sends a run once it has the end of the one before, or once that will never begin.
        """
        with self._changing:
            before, self._last_sent = self._last_sent, run.id
            runs = self.entry.runs if before == run.id else self.entry.runs.with_end(before)
            self.entry = replace(self.entry, runs=runs.with_run(run))

    def reported(self, run: str, *, answered: bool) -> None:
        """Note that this kernel has reported the end of a run. The list at Modal has that with the next run."""
        self._answered_at = time.time() if answered else 0.0
        has_others = len(self.entry.runs.sent) > 1
        with self._changing:
            self.entry = replace(self.entry, runs=self.entry.runs.with_end(run))
        if has_others:
            self.announcing.soon()

    def write_runs(self) -> None:
        """Write the list of this kernel's runs, which no other kernel writes."""
        with self._writing:
            runs = replace(self.entry.runs, queued=self.queued())
            self.registry.put_runs(self.entry.session, self.entry.owner, runs)

    def refuses_others(self, generation: str | None) -> bool:
        """Whether the container would refuse a run of this kernel if another kernel had the session.

        A container knows the claims that it has met. One that has answered this kernel and has not been idle for its
        time still runs, or a new one asks for the values before user code, unless a run brings a new namespace.
        """
        answered_at, self._answered_at = self._answered_at, 0.0
        return generation is not None and 0 <= time.time() - answered_at < self.entry.idle_seconds

    def check_owner(self) -> None:
        """Check that the session is this kernel's.

        Raises:
            TakenOver: the session is another kernel's.
            SessionEnded: another kernel has ended it.
        """
        found = self.registry.claim_of(self.entry.session)
        if found is None:
            raise SessionEnded(ENDED.format(self.entry.session))
        if found.owner != self.entry.owner:
            raise TakenOver(taken_words(found))

    def replay(self, run: str, number: int) -> tuple[Event, ...]:
        """Return a run's events from `number` on, from the log; wait for the last of them.

        Raises:
            RunError: the log does not have them in time.
        """
        reader = LogReader(self.files, self.session, run, lambda _kind, _body: None, lambda: None)
        return reader.rest(number, REPLAY_SECONDS, lambda: self._is_followed(run))

    def _is_followed(self, run: str) -> bool:
        """Whether the kernel that has sent a run has sent another one since, which nobody may have announced."""
        self.find_runs()
        return any(is_later(each.id, run) for each in self.entry.runs.sent)

    def answer(self, run: str, key: str, text: str) -> None:
        """Send the answer for the run's `input()`, unless another kernel has the session: it asks its own user."""
        self.check_owner()
        super().answer(run, key, text)

    def flush(self, run: str) -> None:
        """Put a marker into the queue, unless the queue is full: its reader wakes then without a marker."""
        with contextlib.suppress(Exception):
            self.queue.put(sealed(("flush", run)), block=False)

    def remove(self) -> None:
        """End the session: its App with all containers, its queue, its Volume and its entry."""
        self.announcing.close()
        remove(self.backend, self.entry)
        self.close()


class SentCall(Call):
    """A run of this kernel in a detached session."""

    app: DeployedApp
    outlives_kernel = True

    def __init__(self, app: DeployedApp, request: Request, tell: Tell, patience: float) -> None:
        super().__init__(app, request, tell, patience)
        self.app = app
        self.reader = LogReader(app.files, app.session, request.run, tell, self._look, is_eager=not self.has_values)
        self._sent_at = time.time()

    def follow(self) -> None:
        """Spawn the run and wait for its end, in a thread; once it is spawned, write it into the registry.

        A run for which a container may have to start is in the registry before it is spawned.
        """
        try:
            if not (self._is_cancelled or self.app.refuses_others(self.request.generation)):
                patiently(self.app.check_owner, self.patience, is_pointless=self._is_pointless)
                self.app.knows(self._sent())  # the run may wait long for a container
                patiently(self.app.write_runs, self.patience, is_pointless=self._is_pointless)
        except BaseException as error:  # noqa: BLE001 - the pump raises the error on the main thread
            self.tell("lost", error)
            return
        super().follow()

    def _spawned(self) -> None:
        self.app.knows(self._sent())
        self.app.announcing.soon(self._read_log)

    def _read_log(self) -> None:
        if not self.reader.is_closed:
            FOLLOWERS.run(self.reader.run)

    @property
    def _is_cancelled(self) -> bool:
        with self._lock:
            return self._cancelled

    def _explained(self, error: BaseException) -> BaseException:
        """Return the error of a run, or its cause: another kernel has ended the session, or has it since."""
        if self._is_pointless() or isinstance(error, GivenUp):
            return error
        try:
            self.app.check_owner()
        except SessionEnded as ended:
            return ended
        except TakenOver as taken:
            self.sent = self.sent and self._call is not None
            return taken
        except Exception:  # noqa: BLE001 - the first error says more
            return error
        return error

    def at(self, life: str, number: int, *, is_behind: bool = False) -> None:
        """Pass to the reader of the log what has arrived."""
        self.reader.at(life, number, is_behind=is_behind)

    def _sent(self) -> SentRun:
        request = self.request
        code, call = code_line(request.source), self.id or ""
        return SentRun(request.run, request.execution_count, request.timeout, self._sent_at, call, code)

    def _look(self) -> None:
        """Find out whether another kernel has taken the session over, or has ended it."""
        try:
            self.app.check_owner()
        except (TakenOver, SessionEnded) as error:
            self.tell("taken", error)
            self.reader.close()


class FoundCall(SentCall):
    """A run that another kernel has sent."""

    has_values = False

    def __init__(self, app: DeployedApp, request: Request, tell: Tell, call: str, patience: float) -> None:
        super().__init__(app, request, tell, patience)
        self.sent, self._spawns = True, 1
        self.id = call or None
        self.nodes = tuple(
            LogReader(
                app.files, app.session, run_of_node(request.run, node), partial(self._of_node, str(node)), lambda: None
            )
            for node in range(1, app.machine.nodes)
        )
        """Readers of the logs of a cluster's other nodes."""

    def knows(self, call: str) -> None:
        """Note Modal's id of the call, which the event `started` has."""
        self.id = self.id or call or None

    def _of_node(self, node: str, kind: str, body: Any) -> None:
        """Pass on the events of another node; how the run ended, node 0 says."""
        if kind == "segment":
            self.tell("node_segment", (node, *body))

    def _look(self) -> None:
        super()._look()
        self._read_nodes()

    def _read_nodes(self) -> None:
        """Read the logs of the other nodes, which end before that of node 0."""
        for reader in self.nodes:
            reader.read()

    def follow(self) -> None:
        """Read the log, and wait for the end of the run, in a thread."""
        try:
            with contextlib.suppress(Exception):
                self.app.queue.clear()  # the log has all that nobody has read
            patiently(self._read_nodes, self.patience, is_pointless=self._is_abandoned)
            patiently(self.reader.read, self.patience, is_pointless=self._is_abandoned)
            self.tell("live", None)
            FOLLOWERS.run(self.reader.run)
            self._call = self._found()
            if self._cancelled:
                self._send_cancel(terminate=self._terminating)
            result = patiently(self._call.get, self.patience, is_pointless=self._is_abandoned, probe=self._probe)
            patiently(self._read_nodes, self.patience, is_pointless=self._is_abandoned)
            self.tell("result", replace(without_values(result), tail=result.tail))
        except BaseException as error:  # noqa: BLE001 - the pump raises the error on the main thread
            if not isinstance(error, GivenUp):
                with contextlib.suppress(Exception):  # the end of a failed node's log says more than the error
                    self._read_nodes()
                    self.reader.read()
            self.tell("lost", error)

    def _found(self) -> Any:
        """Return the call, once its id is known.

        Raises:
            MachineError: the run was never sent.
        """
        import modal

        quiet_since = time.monotonic()
        while self.id is None:
            time.sleep(LOOK_SECONDS)
            stats = self.app.run_method.get_current_stats()
            if stats.backlog or (stats.num_total_runners and time.monotonic() < quiet_since + UNSENT_SECONDS):
                quiet_since = time.monotonic() if stats.backlog else quiet_since
            elif time.monotonic() > quiet_since + UNSENT_SECONDS:
                raise MachineError("the cell was not sent: its kernel ended before. Run the cell again.")
        return modal.FunctionCall.from_id(self.id, client=self.app.backend.client)


def with_found(files: VolumeFiles, entry: Entry) -> Entry:
    """Return an entry with the runs that only their logs know: their kernel ended before it could announce them."""
    session, runs = entry.session, entry.runs
    found: list[SentRun] = []
    for run in runs.unlisted(map(run_of, files.directories(runs_directory(session)))):
        seen = first_and_last(files, session, run)
        if seen is not None:
            found.append(SentRun(run, seen.count, seen.timeout, seen.started_at, seen.call, seen.code))
    return replace(entry, runs=reduce(Runs.with_found, in_order(found), runs))


def deployed_runner(entry: Entry, client: Any) -> Any:
    """Return the deployed class of a session, or the function of one whose machine is a cluster. No round trip."""
    import modal

    if entry.nodes > 1:
        return modal.Function.from_name(entry.app, CLUSTER, client=client)
    return modal.Cls.from_name(entry.app, RUNNER, client=client)


def files_of(backend: Backend, entry: Entry) -> VolumeFiles:
    """Return the files of a detached session of the account, whichever kernel has it."""
    import modal

    return VolumeFiles(modal.Volume.from_name(entry.app, client=backend.client))


def remove(backend: Backend, entry: Entry) -> None:
    """End a detached session of the account: App, queue, Volume and entry. What does not exist is skipped."""
    import modal
    from modal.exception import NotFoundError

    client = backend.client
    try:
        with contextlib.suppress(NotFoundError):
            stop_app(entry.app, client)
        modal.Queue.objects.delete(entry.app, allow_missing=True, client=client)
        modal.Volume.objects.delete(entry.app, allow_missing=True, client=client)
    except Exception as error:
        raise translate(error) from error
    Registry(backend).remove(entry.session)


def exists_words(entry: Entry) -> str:
    """Return the sentence about a session that another kernel has made."""
    name = entry.session
    return (
        f"The detached session {name} exists: `%modal_gpu attach {name}` continues it here, "
        f"`%modal_gpu stop {name}` ends it, --session gives this one another name."
    )


def taken_words(found: Entry) -> str:
    """Return the sentence about a session that another kernel has."""
    session = found.session
    when = time.strftime("%H:%M:%S", time.localtime(found.owned_at))
    return (
        f"The session {session} is attached to {found.owner_name} since {when}: "
        f"`%modal_gpu attach {session}` takes it back."
    )
