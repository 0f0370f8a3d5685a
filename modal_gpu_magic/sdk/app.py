"""The App of one machine: its Runner, which runs cells, and the calls of it."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.sdk.faults import translate
from modal_gpu_magic.sdk.held import HeldApp, Tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.client import Backend
    from modal_gpu_magic.wire.messages.events import Answer, Event, FileThere, Request, Transfer

LOG_LINES = 200
"""Lines of the log that are looked at; what cells print does not pass through it."""
CRASH = "Fatal Python error"


class OpenApp(HeldApp):
    """The App of one machine. Make it with `OpenApp(...)`, then `open()` in a thread: an image may take minutes."""

    def __init__(self, machine: Machine, backend: Backend, packages: tuple[str, ...]) -> None:
        super().__init__(machine, backend, packages)
        self._runners: dict[str, Any] = {}
        self._lock = threading.Lock()

    def define(self, app: Any) -> Any:
        """The Runner."""
        return define(app, self.machine, self.packages)

    def start(self, session: str, request: Request, tell: Tell) -> Call:
        """Begin a run and return at once; `tell` hears `spawned`, `frame`, then `result` or `lost`."""
        self._listeners[request.run] = tell
        call = Call(self, session, request, tell)
        FOLLOWERS.run(call.follow)
        return call

    def runner(self, session: str) -> Any:
        """The Runner of a session: a class parameter, so each session has a container of its own."""
        with self._lock:
            if session not in self._runners:
                clustered = self.machine.nodes > 1
                self._runners[session] = Cluster(self._cls) if clustered else self._cls(session=session)
            return self._runners[session]

    def image_id(self, image: Any) -> str:
        """What Modal calls the image that `image` builds; builds it if that has not been done."""
        try:
            image.build(self._app)
        except Exception as error:
            raise translate(error) from error
        return str(image.object_id)

    def ended(self, session: str, run: str) -> Answer | None:
        """How a run ended whose answer was lost; waits for the end. None: the run did not begin, and will not."""
        try:
            answer: Answer | None = self.runner(session).ended.remote(run)
        except Exception as error:
            raise translate(error) from error
        return answer

    def fetch(self, session: str, names: tuple[str, ...], received: tuple[int, ...]) -> Transfer:
        """Values that stayed in the container. `received`: transfers fetched before that were taken in here."""
        try:
            fetched: Transfer = self.runner(session).fetch.remote(names, self.backend.store, received)
        except Exception as error:
            raise translate(error) from error
        return fetched

    def listed(self, session: str, generation: str, path: str) -> tuple[FileThere, ...]:
        """The file at a path of the container's working directory, or all files below it."""
        try:
            files: tuple[FileThere, ...] = self.runner(session).listed.remote(generation, path)
        except Exception as error:
            raise translate(error) from error
        return files

    def part(self, session: str, generation: str, path: str, offset: int, nbytes: int) -> bytes:
        """Some bytes of a file in the container; fewer at its end."""
        try:
            content: bytes = self.runner(session).part.remote(generation, path, offset, nbytes)
        except Exception as error:
            raise translate(error) from error
        return content

    def is_warm(self, session: str) -> bool:
        """Whether the session's container is there; to ask starts none."""
        try:
            return bool(self.runner(session).run.get_current_stats().num_total_runners)
        except Exception as error:
            raise translate(error) from error

    def replay(self, session: str, run: str, number: int) -> tuple[Event, ...]:
        """A run's events from `number` on."""
        events: tuple[Event, ...] = self.runner(session).replay.remote(run, number)
        return events

    def keep_warm(self, session: str, seconds: int) -> None:
        """Change how long an idle container stays, without a new machine."""
        import warnings

        with warnings.catch_warnings():  # 1.6.4 warns on the class's own method, and offers no other for a class
            warnings.simplefilter("ignore")
            self.runner(session).update_autoscaler(scaledown_window=seconds)

    def log(self) -> str:
        """The newest lines of the App's log: what Modal itself says of the machine stands there. One round trip."""
        try:
            return "".join(str(getattr(entry, "message", entry)) for entry in self._app.logs.tail(LOG_LINES))
        except Exception:  # noqa: BLE001 - the log is an extra
            return ""

    def answer(self, run: str, text: str) -> None:
        """What was typed for the run's `input()`."""
        self.queue.put(text, partition=f"stdin-{run}")


class Followers:
    """Threads that wait for calls, kept for the next ones: to start a thread costs a cell a millisecond.

    Not a ThreadPoolExecutor: the interpreter joins a pool's threads before `atexit` closes the Apps, so a call that
    Modal does not answer would keep the kernel from ending.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def run(self, job: Callable[[], None]) -> None:
        """Do `job` in a thread, at once."""
        with self._lock:
            warm_process = self._idle > 0
            self._idle -= warm_process
        self._jobs.put(job)
        if not warm_process:
            threading.Thread(target=self._work, name="modal-gpu-call", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1


FOLLOWERS = Followers()


class Call:
    """One run as Modal sees it: spawned, waited for, cancelled."""

    def __init__(self, app: OpenApp, session: str, request: Request, tell: Tell) -> None:
        self.app, self.session, self.request, self.tell = app, session, request, tell
        self.id: str | None = None
        self.sent = False
        """Whether the run may have reached Modal; one that is stopped before that never does."""
        self._call: Any = None
        self._question: Any = None
        self._cancelled = self._terminating = False
        self._lock = threading.Lock()

    def follow(self) -> None:
        """In a thread: spawn, then wait for the end. All that happens is told, nothing is raised."""
        try:
            runner = self.app.runner(self.session)
            with self._lock:
                self.sent = not self._cancelled
            if not self.sent:
                self.tell("lost", KeyboardInterrupt())
                return
            self._call = runner.run.spawn(self.request, self.app.queue)
            self.id = self._call.object_id
            self.tell("spawned", self.id)
            if self._cancelled:
                self._call.cancel(terminate_containers=self._terminating)
            self.tell("result", self._call.get())
        except BaseException as error:  # noqa: BLE001 - told to the pump, which raises it on the main thread
            self.tell("lost", error)

    def cancel(self, *, terminate: bool = False) -> None:
        """Ask the run to stop; with `terminate`, end its container. Returns at once."""
        with self._lock:
            self._cancelled, self._terminating = True, self._terminating or terminate
        call = self._call

        def send() -> None:
            with contextlib.suppress(Exception):  # it has ended, or the connection has: either is told elsewhere
                if terminate and self._question is not None:
                    self._question.cancel()  # a new container would be started for it
                call.cancel(terminate_containers=terminate)

        if call is not None:
            threading.Thread(target=send, name="modal-gpu-cancel", daemon=True).start()

    def ended(self) -> Answer | None:
        """How the run ended, as its container says (see `OpenApp.ended`)."""
        self._question = self.app.runner(self.session).ended.spawn(self.request.run)
        answer: Answer | None = self._question.get()
        return answer

    def running(self) -> bool | None:
        """Whether a container is there for the run; None when Modal does not say. One round trip."""
        try:
            stats = self.app.runner(self.session).run.get_current_stats()
        except Exception:  # noqa: BLE001 - a status line is not worth an error
            return None
        return bool(stats.num_total_runners)

    def last_words(self, limit: int = 6000) -> str:
        """What the container wrote to Modal's log during the call: a segfault's stack, a CUDA assertion."""
        try:
            text = "".join(str(getattr(entry, "message", entry)) for entry in self._call.logs.stream())
        except Exception:  # noqa: BLE001 - the log is an extra; the error it explains is raised anyway
            return ""
        begin = text.rfind(CRASH)  # faulthandler names the fault and the thread it was in first
        return text[begin : begin + limit] if begin >= 0 else text[-limit:]


class Cluster:
    """What stands for a Runner where a machine has nodes: its one function. It keeps no values, and no events."""

    def __init__(self, function: Any) -> None:
        self.run = function

    def update_autoscaler(self, *, scaledown_window: int) -> None:
        """Change how long the idle nodes stay."""
        self.run.update_autoscaler(scaledown_window=scaledown_window)


def define(app: Any, machine: Machine, packages: tuple[str, ...]) -> Any:
    """The Runner class on `app`, or the function of a cluster, with everything of `machine` in its definition.

    Not yet created at Modal.
    """
    import modal

    from modal_gpu_magic.sdk import entry, nodes

    options = {**definition(machine, packages), "timeout": FUNCTION_TIMEOUT}
    if machine.nodes > 1:
        function = modal.clustered(size=machine.nodes, rdma=machine.rdma)(nodes.run)
        return app.function(serialized=True, name="cluster", max_containers=machine.nodes, **options)(function)
    return app.cls(**entry.methods(), **options)(entry.Runner)


def definition(machine: Machine, packages: tuple[str, ...]) -> dict[str, Any]:
    """What a machine says of a Function's definition, as the SDK takes it; `packages` join its image."""
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
