"""The App of one session: defines its Runner, and starts, follows and cancels runs."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT, SESSION_MOUNT
from modal_gpu_magic.errors import AnswerLost, GivenUp
from modal_gpu_magic.sdk.faults import is_token_refused, translate
from modal_gpu_magic.sdk.held import HeldApp, Tell
from modal_gpu_magic.sdk.patience import PATIENCE_SECONDS, patiently
from modal_gpu_magic.sdk.session_volume import VolumeFiles
from modal_gpu_magic.sdk.threads import in_thread
from modal_gpu_magic.wire.inspection.crash_report import crash_report
from modal_gpu_magic.wire.messages.parcel import WAIT_SECONDS, split
from modal_gpu_magic.wire.messages.stdin import stdin_partition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.client import Backend
    from modal_gpu_magic.wire.buffers.stores import SharedStore
    from modal_gpu_magic.wire.messages.events import Answer, Event, RemoteFile, Request, RunTrace, Transfer
    from modal_gpu_magic.wire.messages.parcel import Parcel

CLUSTER = "cluster"
"""The name of the function of an App whose machine has nodes."""
LOG_LINES = 200
"""Lines read from the end of the log; output of cells is not part of the log."""
SDK_LINE = "[modal-client] "
"""Beginning of the lines that the SDK itself writes to a container's log, such as that a call was cancelled."""
UNSTOPPED_SECONDS = 10.0
"""Seconds that a run may go on after its cancellation, if the id of its call is not known."""
DISCARD_SECONDS = 1.0
"""Seconds that a container may take to hear that its state is not needed; one that runs a cell does not hear it."""


class OpenApp(HeldApp):
    """The App of one session. Call `open()` in a thread: an image build may take minutes.

    Args:
        machine: the session's machine.
        backend: where the App runs.
        packages: packages that join the image of the machine.
        session: name of the session.

    Attributes:
        session: name of the session.
        runner: the session's Runner at Modal, once the App is open.
        run_method: the Runner's method that runs a cell. The SDK takes 0.2 ms to bind it.
        store: the session's store of large buffers, once the App is open; None: buffers travel in the message.
    """

    runner: Any
    run_method: Any
    store: SharedStore | None

    def __init__(self, machine: Machine, backend: Backend, packages: tuple[str, ...], session: str = "default") -> None:
        super().__init__(machine, backend, packages)
        self.session = session

    def define(self, app: Any) -> Any:
        """Define the Runner."""
        volumes = in_thread(self._volumes)  # two round trips, during which the image is defined
        return define(app, self.machine, self.packages, self.session, volumes=volumes.result)

    def _volumes(self) -> dict[str, Any]:
        """Return the session Volume by its mount path, if the machine's sessions are saved."""
        return {SESSION_MOUNT: self.backend.session_volume()} if self.machine.saves else {}

    @property
    def saved_files(self) -> VolumeFiles | None:
        """The Volume with the saved states; None: this machine's sessions are not saved."""
        return VolumeFiles(self.backend.session_volume()) if self.machine.saves else None

    @property
    def owner(self) -> str:
        """The kernel's claim on a detached session; empty: the App ends with the kernel."""
        return ""

    def terminate(self) -> None:
        """End the containers, and the App with them."""
        self.close()

    def terminate_soon(self) -> None:
        """End the containers without waiting for Modal."""
        if self.owner:
            FOLLOWERS.run(self.terminate)
        else:
            self.close_soon()

    @property
    def session_volume(self) -> str:
        """Modal's id of the session Volume; empty: none is mounted."""
        return self.backend.volume.id if self.machine.saves else ""

    def _open(self) -> None:
        super()._open()
        self.runner = Cluster(self._cls) if self.machine.nodes > 1 else self._cls()
        self.run_method = self.runner.run
        self.store = self._new_store()

    def start(self, request: Request, tell: Tell, patience: float = PATIENCE_SECONDS) -> Call:
        """Start a run and return at once; `tell` receives `spawned`, `frame`, then `result` or `lost`.

        Args:
            request: the run.
            tell: receives the messages.
            patience: seconds without a connection after which the run is given up.
        """
        return self._follow(Call(self, request, tell, patience))

    def _follow(self, call: Call) -> Call:
        self._listeners[call.request.run] = call.tell
        FOLLOWERS.run(call.follow)
        return call

    def _new_store(self) -> SharedStore | None:
        """Return a store of large buffers, which ends with the App."""
        made = self.backend.new_store()
        if made is not None:
            self._hooks.callback(made.remove)
        return made

    def reported(self, run: str, *, answered: bool) -> None:
        """Note that the kernel has reported the end of a run.

        Args:
            run: the run.
            answered: whether its container has answered, and so runs.
        """

    def image_id(self, image: Any) -> str:
        """Return Modal's id of an image; build the image if needed."""
        try:
            image.build(self._app)
        except Exception as error:
            raise translate(error) from error
        return str(image.object_id)

    def ended(self, run: str) -> Answer | None:
        """Wait for the end of a run whose answer was lost. None: the run did not begin and will not begin."""
        try:
            answer: Answer | None = self.runner.ended.remote(run)
        except Exception as error:
            raise translate(error) from error
        return answer

    def fetch(
        self,
        names: tuple[str, ...],
        received: tuple[int, ...],
        forgot: tuple[int, ...],
        generation: str | None = None,
        history: tuple[RunTrace, ...] = (),
    ) -> Transfer:
        """Fetch values that stayed in the container, or were saved by it. The arguments are those of `Runner.fetch`."""
        try:
            store = self.store
            directory = None if store is None else str(store.directory)
            fetched: Transfer = self.runner.fetch.remote(
                names, directory, received, forgot, generation, history, self.owner
            )
        except Exception as error:
            raise translate(error) from error
        return fetched

    def save(self) -> dict[str, str] | None:
        """Save the session's state; return what is not saved, with the reasons. None: nothing could be saved."""
        try:
            unsaved: dict[str, str] | None = self.runner.save.remote()
        except Exception as error:
            raise translate(error) from error
        return unsaved

    def discard(self) -> None:
        """Let a running container of a session save nothing at its end."""
        with contextlib.suppress(Exception):  # without this, the container is billed for a save that nobody needs
            if self.is_warm():
                self.runner.discard.spawn().get(timeout=DISCARD_SECONDS)

    def listed(self, generation: str, path: str) -> tuple[RemoteFile, ...]:
        """List the file at a path of the container's working directory, or all files below the path."""
        try:
            files: tuple[RemoteFile, ...] = self.runner.listed.remote(generation, path)
        except Exception as error:
            raise translate(error) from error
        return files

    def part(self, generation: str, path: str, offset: int, nbytes: int) -> bytes:
        """Read up to `nbytes` bytes of a file in the container; fewer at the end of the file."""
        try:
            content: bytes = self.runner.part.remote(generation, path, offset, nbytes)
        except Exception as error:
            raise translate(error) from error
        return content

    def is_warm(self) -> bool:
        """Whether the session's container is running. This call starts no container."""
        try:
            return bool(self.run_method.get_current_stats().num_total_runners)
        except Exception as error:
            raise translate(error) from error

    def replay(self, run: str, number: int) -> tuple[Event, ...]:
        """Return a run's events from `number` on."""
        events: tuple[Event, ...] = self.runner.replay.remote(run, number)
        return events

    def keep_warm(self, seconds: int) -> None:
        """Change how long an idle container stays, in seconds, without a new machine."""
        import warnings

        with warnings.catch_warnings():  # modal 1.6.4 warns about this method, and has no other for a class
            warnings.simplefilter("ignore")
            self.runner.update_autoscaler(scaledown_window=seconds)

    def log(self) -> str:
        """Return the last lines of the App's log, which hold Modal's messages about the machine. One round trip."""
        try:
            return "".join(str(getattr(entry, "message", entry)) for entry in self._app.logs.tail(LOG_LINES))
        except Exception:  # noqa: BLE001 - the log is optional
            return ""

    def answer(self, run: str, key: str, text: str) -> None:
        """Send the answer for the run's `input()`; the container takes one answer of each key."""
        self.queue.put((key, text), partition=stdin_partition(run))


class Followers:
    """Threads that wait for calls, reused: starting a thread takes a millisecond per cell.

    Not a ThreadPoolExecutor: the interpreter joins a pool's threads before `atexit` closes the Apps, so a call that
    Modal does not answer would keep the kernel from exiting.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def run(self, job: Callable[[], None]) -> None:
        """Run `job` in a thread, at once."""
        with self._lock:
            has_idle = self._idle > 0
            self._idle -= has_idle
        self._jobs.put(job)
        if not has_idle:
            threading.Thread(target=self._work, name="modal-gpu-call", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1


FOLLOWERS = Followers()


class Call:
    """One run at Modal: spawn it, wait for its result, cancel it."""

    has_values = True
    """Whether the answer is packed for this kernel."""
    outlives_kernel = False
    """Whether the run goes on if its kernel does not come back."""

    def __init__(self, app: OpenApp, request: Request, tell: Tell, patience: float) -> None:
        self.app, self.request, self.tell, self.patience = app, request, tell, patience
        self.id: str | None = None
        self.sent = False
        """Whether Modal may have received the run; a run that is stopped earlier is never sent."""
        self._call: Any = None
        self._ended_call: Any = None
        self._spawns = 0
        """Attempts to spawn the run. Of several, the first may run under an id that this side does not know."""
        self._cancelled = self._terminating = False
        self._lock = threading.Lock()

    def follow(self) -> None:
        """Spawn the run and wait for its end, in a thread. Reports every step to `tell` and raises nothing."""
        try:
            method = self.app.run_method
            with self._lock:
                self.sent = not self._cancelled
            if not self.sent:
                self.tell("lost", KeyboardInterrupt())
                return
            sent = self._send_parts() or self.request
            # A spawn whose answer was lost is repeated: a container runs no run twice, and has kept the answer.
            self._call = patiently(lambda: self._spawn(method, sent), self.patience, is_pointless=self._is_pointless)
            self.id = self._call.object_id
            self.tell("spawned", self.id)
            self._spawned()
            if self._cancelled:
                self._send_cancel(terminate=self._terminating)
            result = patiently(self._call.get, self.patience, is_pointless=self._is_abandoned, probe=self._probe)
            self.tell("result", result)
        except BaseException as error:  # noqa: BLE001 - the pump raises the error on the main thread
            if is_token_refused(error) and self._spawns == 1 and self._call is None:
                self.sent = False  # Modal has refused the spawn
            self.tell("lost", self._explained(error))
            is_abandoned = isinstance(error, GivenUp) and not self.outlives_kernel
            if is_abandoned or (self._cancelled and self._call is None):
                self._send_cancel(terminate=False)

    def at(self, life: str, number: int, *, is_behind: bool = False) -> None:
        """Note how far the events of the run have come.

        Args:
            life: the generation of their container.
            number: the next number.
            is_behind: whether later events wait for it.
        """

    def knows(self, call: str) -> None:
        """Note Modal's id of the call, which the container has reported."""

    def _spawned(self) -> None:
        """Do what is to be done once Modal has the run, without waiting."""

    def _explained(self, error: BaseException) -> BaseException:
        """Return the error that the pump gets for one of this run."""
        return error

    def _spawn(self, method: Any, sent: Request | Parcel) -> Any:
        self._spawns += 1
        return method.spawn(sent, self.app.queue)

    def _send_parts(self) -> Parcel | None:
        """Send the request through the queue, in another thread, if the SDK would send it as a blob.

        Not in a cluster, where each node needs the request, and not with a shared store, where requests are small.
        """
        if self.app.machine.nodes > 1 or self.app.backend.store is not None:
            return None
        parcel, parts = split(self.request)
        if parcel is not None:
            # A blocking put: a server that throttles answers as a full queue does.
            put = partial(self.app.queue.put_many, list(parts), partition=parcel.partition, timeout=WAIT_SECONDS)
            FOLLOWERS.run(lambda: self._put(put))
        return parcel

    def _put(self, put: Callable[[], None]) -> None:
        try:
            patiently(put, self.patience, is_pointless=self._is_pointless)
        except BaseException as error:  # noqa: BLE001 - the pump raises the error on the main thread
            if not self._is_pointless():
                self.tell("lost" if isinstance(error, GivenUp) else "refused", error)
                self.cancel()  # the container waits for the parts

    def _is_pointless(self) -> bool:
        return self._cancelled or self._is_abandoned()

    def _is_abandoned(self) -> bool:
        return self.app.closed or self.app.backend.lost is not None

    def _probe(self) -> None:
        """Show that Modal answers: ask for the result without waiting."""
        with contextlib.suppress(TimeoutError):
            self._call.get(timeout=0)

    def _send_cancel(self, *, terminate: bool) -> None:
        """Cancel the call, as soon as the connection allows."""
        with contextlib.suppress(Exception):  # `follow` reports an ended run
            if terminate and self._ended_call is not None:
                self._ended_call.cancel()  # otherwise Modal would start a new container for this call
            if self._call is not None:
                patiently(
                    lambda: self._call.cancel(terminate_containers=terminate),
                    self.patience,
                    is_pointless=lambda: self._is_abandoned() or (self._terminating and not terminate),
                )
            if self._spawns > 1 or self._call is None:
                self._end_unless_stopped()

    def _end_unless_stopped(self) -> None:
        """End the App if the run goes on: the answer to a spawn was lost, and with it the id of a call to cancel."""
        if self.app.machine.nodes > 1:
            self.app.terminate()
            return
        asked = patiently(
            lambda: self.app.runner.ended.spawn(self.request.run),
            self.patience,
            is_pointless=self._is_abandoned,
        )
        until = time.monotonic() + UNSTOPPED_SECONDS
        while time.monotonic() < until and not self._is_abandoned():
            try:
                asked.get(timeout=1.0)
            except TimeoutError:  # the run goes on, or its container starts
                continue
            return
        self.app.terminate()

    def cancel(self, *, terminate: bool = False) -> None:
        """Ask the run to stop; with `terminate`, end its container. Returns at once."""
        with self._lock:
            self._cancelled, self._terminating = True, self._terminating or terminate
        if self._call is not None:
            send = partial(self._send_cancel, terminate=terminate)
            threading.Thread(target=send, name="modal-gpu-cancel", daemon=True).start()

    def answer(self, text: str) -> None:
        """Send the answer for the run's `input()`, again while the network fails.

        Raises:
            BaseException: the answer was not sent, and the run may go on.
        """
        send = partial(self.app.answer, self.request.run, uuid.uuid4().hex, text)
        try:
            patiently(send, self.patience, is_pointless=self._is_pointless)
        except BaseException:
            if not self._is_pointless():
                raise

    def ended(self) -> Answer | None:
        """Ask the container how the run ended (see `OpenApp.ended`).

        Raises:
            AnswerLost: the run was a cluster's, whose nodes keep no answer; the log of a detached one has the values.
        """
        if self.app.machine.nodes > 1:
            back = f"`%modal_gpu attach {self.app.session}` brings its values."
            rest = back if self.outlives_kernel else "its nodes keep none."
            raise AnswerLost(f"the answer of the cluster was lost in transit, and {rest}")
        self._ended_call = self.app.runner.ended.spawn(self.request.run)
        answer: Answer | None = self._ended_call.get()
        return answer

    def running(self) -> bool | None:
        """Whether a container runs for the session; None: Modal gives no answer. One round trip."""
        try:
            stats = self.app.run_method.get_current_stats()
        except Exception:  # noqa: BLE001 - a status line must not fail
            return None
        return bool(stats.num_total_runners)

    def last_words(self, limit: int = 6000) -> str:
        """Return the end of the container's log during the call: a segfault's stack, a CUDA assertion."""
        try:
            log = "".join(str(getattr(entry, "message", entry)) for entry in self._call.logs.stream())
        except Exception:  # noqa: BLE001 - the log is optional; the error itself is raised anyway
            return ""
        text = "".join(line for line in log.splitlines(keepends=True) if not line.startswith(SDK_LINE))
        report = crash_report(text)
        if report is None:
            return text[-limit:]
        return "\n\n".join(filter(None, (report.fault, report.thread, report.rest)))[:limit]


class Cluster:
    """Replaces the Runner for a machine with nodes: one function, which keeps no values and no events."""

    def __init__(self, function: Any) -> None:
        self.run = function

    def update_autoscaler(self, *, scaledown_window: int) -> None:
        """Change how long idle nodes stay, in seconds."""
        self.run.update_autoscaler(scaledown_window=scaledown_window)


def define(
    app: Any,
    machine: Machine,
    packages: tuple[str, ...],
    session: str = "default",
    *,
    volumes: Callable[[], Mapping[str, Any]] = dict,
) -> Any:
    """Define the Runner class of a session, or a cluster's function, on `app`, with all options of `machine`.

    Modal creates nothing before the App runs. `volumes`: called last, returns more Volumes, by mount path.
    """
    import modal

    from modal_gpu_magic.sdk import entry

    options = {**definition(machine, packages), "timeout": FUNCTION_TIMEOUT, "startup_timeout": machine.startup}
    options["volumes"] = {**options["volumes"], **volumes()}
    if machine.nodes > 1:
        from modal_gpu_magic.sdk import nodes

        function = modal.clustered(size=machine.nodes, rdma=machine.rdma)(nodes.run)
        return app.function(serialized=True, name=CLUSTER, max_containers=machine.nodes, **options)(function)
    return app.cls(**entry.methods(), **options)(entry.runner_of(session))


def definition(machine: Machine, packages: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of a machine's Function for the SDK; `packages` join its image."""
    import modal

    from modal_gpu_magic.sdk import image

    return {
        "gpu": machine.gpu_argument,
        "image": image.build(machine, packages),
        "scaledown_window": machine.scaledown,
        "volumes": {path: modal.Volume.from_name(name, create_if_missing=True) for name, path in machine.mounts},
        "secrets": [modal.Secret.from_name(name) for name in machine.secrets],
        "cpu": machine.cpu,
        "memory": machine.memory,
        "region": machine.region,
    }
