"""An ephemeral App that is held open for the life of the kernel, with one queue of events and the one reader of it."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.sdk.faults import translate

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine import Machine
    from modal_gpu_magic.sdk.client import Backend
    from modal_gpu_magic.wire.events import Frame

POLL_SECONDS = 45
"""Length of one long poll of the queue; Modal's own limit for a `get` is 50 s."""
ITEMS = 500
"""Queue items taken at once."""
CLOSE_SECONDS = 2.0
"""How long the reader may take to notice that its App is closed."""
APP_NAME = "modal-gpu-magic"

Tell = Callable[[str, Any], None]
"""`tell(kind, body)`: how news of a run reaches whoever pumps it. Called from threads."""


class HeldApp(ABC):
    """What every App of ours does. `define` says what is in it."""

    def __init__(self, machine: Machine, backend: Backend, packages: tuple[str, ...]) -> None:
        self.machine, self.backend, self.packages = machine, backend, packages
        self.opened_at = 0.0
        self.closed = False
        self._stack = contextlib.ExitStack()
        self._listeners: dict[str, Tell] = {}

    def open(self) -> None:
        """Create the App at Modal (its image is built if need be), and start the one reader of its events.

        Raises:
            MachineError: the image cannot be built, or Modal refuses the machine. BackendLost: no connection.
        """
        try:
            self._open()
        except Exception as error:
            self.close()
            self._stack.close()
            raise translate(error) from error
        if self.closed:  # abandoned while the image was being built
            self._stack.close()

    @abstractmethod
    def define(self, app: Any) -> Any:
        """Put the class on `app`, not yet created at Modal; `queue` is there for it to refer to."""

    def _open(self) -> None:
        import modal

        client = self.backend.client
        app = modal.App(APP_NAME)
        self.queue = self._stack.enter_context(modal.Queue.ephemeral(client=client))
        self._cls = self.define(app)
        self._stack.enter_context(app.run(client=client))
        self._app = app
        self.opened_at = time.time()
        self.backend.on_loss(lambda error: self._tell_all("lost", error))
        self._reader = threading.Thread(target=self._read, name="modal-gpu-events", daemon=True)
        self._reader.start()
        atexit.register(self.close)

    def finish(self, run: str) -> None:
        """Stop listening to a run (events of its threads that come later are dropped)."""
        self._listeners.pop(run, None)

    def listen(self, run: str, tell: Tell) -> None:
        """Hear what comes late: output of a thread that outlives its cell."""
        self._listeners[run] = tell

    def flush(self, run: str) -> None:
        """Put a marker: when it comes back, everything the container put before has come."""
        import pickle

        self.queue.put(pickle.dumps(("flush", run)))

    def close(self) -> None:
        """End the App and its containers."""
        if not self.closed:
            self._mark_closed()
            self._let_go()

    def close_soon(self) -> None:
        """The same, but without waiting for Modal: nothing runs here any more from now on."""
        if not self.closed:
            self._mark_closed()
            threading.Thread(target=self._let_go, name="modal-gpu-close", daemon=True).start()

    def _mark_closed(self) -> None:
        self.closed = True
        self._tell_all("closed", None)

    def _let_go(self) -> None:
        if self.opened_at and self.backend.lost is None:
            with contextlib.suppress(Exception):
                self._wake_reader()
                self._stack.close()

    def _wake_reader(self) -> None:
        """End the reader's long poll with an item of its own: one that is broken off at exit prints a traceback."""
        self.flush("")
        self._reader.join(CLOSE_SECONDS)

    def _read(self) -> None:
        """The one reader: a persistent thread nobody interrupts (an item is lost with a `get` that is cancelled)."""
        import pickle

        while not self._over():
            try:
                items = self.queue.get_many(ITEMS, timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, the runs must hear of it
                if self._over():
                    return
                self._tell_all("reader", translate(error))
                time.sleep(1)
                continue
            for item in items:
                self._deliver(pickle.loads(item))

    def _over(self) -> bool:
        return self.closed or self.backend.lost is not None

    def _deliver(self, item: Frame | tuple[str, str]) -> None:
        kind, run = item if isinstance(item, tuple) else ("frame", item.run.partition("/")[0])
        tell = self._listeners.get(run)
        if tell is not None:
            tell(kind, item)

    def _tell_all(self, kind: str, body: Any) -> None:
        for tell in list(self._listeners.values()):
            tell(kind, body)
