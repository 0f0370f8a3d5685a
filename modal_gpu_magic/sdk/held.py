"""An ephemeral App, held open for the life of the kernel, with one queue of events and one reader."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.limits import QUEUE_POLL_SECONDS
from modal_gpu_magic.errors import DamagedError, MachineError
from modal_gpu_magic.plan.machine.build_failure import LINES, explain
from modal_gpu_magic.sdk.faults import failed_image, has_app_ended, is_token_refused, is_transient, translate
from modal_gpu_magic.sdk.heartbeats import heartbeats_to
from modal_gpu_magic.sdk.patience import delays
from modal_gpu_magic.sdk.threads import PRESS_SECONDS, in_thread
from modal_gpu_magic.wire.messages.events import Frame
from modal_gpu_magic.wire.messages.seal import opened, sealed
from modal_gpu_magic.wire.messages.shapes import checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.client import Backend

POLL_SECONDS = QUEUE_POLL_SECONDS - 5
"""Seconds of one long poll of the queue."""
PROBE_SECONDS = 0.5
"""Seconds of a poll that only shows whether the connection is back."""
MOST_ITEMS = 500
"""Most queue items of one poll."""
CLOSE_SECONDS = 2.0
"""Seconds that the reader may take to notice that its App is closed."""
APP_NAME = "modal-gpu-magic"

Tell = Callable[[str, Any], None]
"""`tell(kind, body)` passes an event of a run to the run's pump. Called from threads."""


class HeldApp(ABC):
    """Base of all Apps of this package. `define` sets the App's content."""

    defines_with_queue = False
    """Whether `define` refers to `queue`."""

    def __init__(self, machine: Machine, backend: Backend, packages: tuple[str, ...]) -> None:
        self.machine, self.backend, self.packages = machine, backend, packages
        self.closed = self._opened = False
        self.is_ended = False
        """Modal has ended the App, or its queue: no more events arrive."""
        self._stack = contextlib.ExitStack()
        """Closes the resources opened at Modal."""
        self._hooks = contextlib.ExitStack()
        """Removes the process hooks that refer to the App."""
        self._lock = threading.Lock()
        """Protects `closed` and `_ending`: the kernel's exit, a cell and the opening thread may all close the App."""
        self._ending: threading.Thread | None = None
        """Ends the App, once it is closed."""
        self._listeners: dict[str, Tell] = {}
        self._reader: threading.Thread | None = None
        self.poll_seconds: float = POLL_SECONDS

    def open(self) -> None:
        """Create the App at Modal, build its image if needed, and start the reader of its events.

        Raises:
            MachineError: the image cannot be built, or Modal refuses the machine.
            BackendLost: no connection.
        """
        try:
            self._open()
        except BaseException as error:
            translated = self._of_image(error) or translate(error)
            self.close()
            self._end()
            raise translated from error
        with self._lock:
            self._opened, abandoned = True, self.closed
        if abandoned:  # `close` was called during the image build; this thread cleans up
            self._end()

    def _of_image(self, error: BaseException) -> MachineError | None:
        """Return the error of a failed image build, with the end of the build's log; None: another error."""
        image_id = failed_image(error)
        if image_id is None:
            return None
        import modal

        try:
            entries = list(modal.Image.from_id(image_id, client=self.backend.client).logs.tail(LINES))
            log = "".join(str(getattr(entry, "message", entry)) for entry in entries)
        except Exception:  # noqa: BLE001 - the log is optional, and SDKs before 1.6.2 have none
            log = ""
        return MachineError(explain(log or str(error), self.machine, self.packages))

    @abstractmethod
    def define(self, app: Any) -> Any:
        """Define the class on `app`; Modal creates nothing yet."""

    def _open(self) -> None:
        with heartbeats_to(self._heartbeat_failed):
            self._app = self._create(self.backend.client)
        self._hooks.callback(self.backend.on_loss(lambda error: self._tell_all("lost", error)))
        self._reader = threading.Thread(target=self._read, name="modal-gpu-events", daemon=True)
        self._reader.start()
        atexit.register(self.close)

    def _create(self, client: Any) -> Any:
        """Create the queue and the App at Modal, and return the App. Both end with `_stack`."""
        import modal

        app = modal.App(APP_NAME)
        # Beside the definition, which may open a Volume: each takes two round trips.
        opened = in_thread(lambda: self._stack.enter_context(modal.Queue.ephemeral(client=client)))
        try:
            if self.defines_with_queue:
                self.queue = opened.result()
            self._cls = self.define(app)
            self._stack.enter_context(app.run(client=client))
        finally:
            self.queue = opened.result()
        return app

    def finish(self, run: str) -> None:
        """Stop listening to a run; later events of its threads are dropped."""
        self._listeners.pop(run, None)

    def listen(self, run: str, tell: Tell) -> None:
        """Receive late output: of a thread that outlives its cell."""
        self._listeners[run] = tell

    def flush(self, run: str) -> None:
        """Put a marker into the queue: its arrival shows that all earlier events have arrived."""
        self.queue.put(sealed(("flush", run)))

    def close(self) -> None:
        """End the App and its containers, and wait for that, also if the end has begun before.

        Raises:
            KeyboardInterrupt: ■ was pressed. The App ends nevertheless.
        """
        self.close_soon()
        while self._ending is not None and self._ending.is_alive():
            self._ending.join(PRESS_SECONDS)

    def close_soon(self) -> None:
        """End the App and its containers without waiting for Modal: a thread does the work, which ■ cannot reach."""
        with self._lock:
            if self.closed:
                return
            self.closed, is_open = True, self._opened
            if is_open:
                ending = threading.Thread(target=self._tell_and_end, name="modal-gpu-close", daemon=True)
                with contextlib.suppress(RuntimeError):  # since Python 3.12, no thread starts at the interpreter's exit
                    ending.start()
                    self._ending = ending
        if not is_open:
            self._tell_all("closed", None)
        elif self._ending is None:
            self._tell_and_end()

    def _tell_and_end(self) -> None:
        self._tell_all("closed", None)
        self._end()

    def _end(self) -> None:
        """Undo the completed steps of `open`. Without a connection, Modal ends the App by itself."""
        try:
            self._hooks.close()
        finally:
            if self.backend.lost is None:
                self._end_at_modal()
            atexit.unregister(self.close)  # last, so that an exit of the kernel waits for the steps before

    def _end_at_modal(self) -> None:
        if self._reader is not None:
            with contextlib.suppress(Exception):
                self._wake_reader(self._reader)
        with contextlib.suppress(Exception):
            self._stack.close()

    def _wake_reader(self, reader: threading.Thread) -> None:
        """End the reader's long poll with a marker: a poll interrupted at exit would print a traceback."""
        self.flush("")
        reader.join(CLOSE_SECONDS)

    def _read(self) -> None:
        """Read the queue in one thread that is never interrupted: a cancelled `get` loses an item.

        A network or a server that fails is asked again; a queue that Modal has ended is not.
        """
        waits: Iterator[float] | None = None
        """During an outage, the seconds before each further attempt."""
        while not self._has_ended():
            self._await_run()
            try:
                items = self.queue.get_many(MOST_ITEMS, timeout=self.poll_seconds if waits is None else PROBE_SECONDS)
            except queue.Empty:
                items = []
            except BaseException as error:  # noqa: BLE001 - the runs end with their results, also without events
                if self._has_ended():
                    return
                if not (is_transient(error) or is_token_refused(error)):
                    self.is_ended = True
                    return
                if waits is None:
                    waits = delays()
                    self._tell_all("outage", error)
                time.sleep(next(waits))
                continue
            if waits is not None:
                waits = None
                self._tell_all("contact", None)
            for item in items:
                with contextlib.suppress(DamagedError):  # the run requests missing events by their numbers
                    self._deliver(opened(item))

    def _await_run(self) -> bool:
        """Wait until events are wanted; at once, unless a subclass says otherwise. Return whether they are."""
        return True

    def _heartbeat_failed(self, error: BaseException | None) -> None:
        """Note that Modal has ended the App or its queue. Without a connection, the reader notices that."""
        self.is_ended = self.is_ended or has_app_ended(error)

    def _has_ended(self) -> bool:
        return self.closed or self.backend.lost is not None

    def _deliver(self, item: Any) -> None:
        """Pass a frame or a marker to its run.

        Raises:
            DamagedError: the item is neither.
        """
        is_marker = type(item) is tuple and [type(each) for each in item] == [str, str]
        kind, run = item if is_marker else ("frame", checked(item, Frame).run.partition("/")[0])
        tell = self._listeners.get(run)
        if tell is not None:
            tell(kind, item)

    def _tell_all(self, kind: str, body: Any) -> None:
        for tell in list(self._listeners.values()):
            tell(kind, body)
