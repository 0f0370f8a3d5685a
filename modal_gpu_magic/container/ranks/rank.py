"""One rank: a new process with its own IPython that runs the cell once and reports events and the result to its parent.

torchrun starts one process per rank. A rank ends with the session's process that ordered it: a closed socket between
the two shows that the session's process has ended.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Client
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.cell.failures import failure_of, signed
from modal_gpu_magic.container.cell.shell import make_shell
from modal_gpu_magic.container.output.capture import Capture
from modal_gpu_magic.container.output.event_sender import EventSender
from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
from modal_gpu_magic.container.process.interrupt import PRESS, Interrupt
from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.container.ranks.protocol import ADDRESS, ONE_A_NODE, Done, Order
from modal_gpu_magic.container.ranks.spawned import bind_classes
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.process import ProcessState
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.inspection.own_modules import follow_imports
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from modal_gpu_magic.container.cell.shell import Outcome

STUCK_SECONDS: Final = 1.0
"""Seconds that the main thread may take to handle an interrupt before the rank reports itself as stuck."""
FLUSH_SECONDS: Final = 60.0
"""Seconds that a rank may take to send its remaining events to its parent."""


def main() -> None:
    """Run one rank. Returns when all ranks have ended, so that the process exits as a script does."""
    signal.signal(PRESS, signal.SIG_IGN)  # outside the cell the signal has no effect
    with contextlib.suppress(PermissionError):  # torchrun has already created a session
        os.setsid()
    rank = int(os.environ.get(ONE_A_NODE) or os.environ["RANK"])
    Rank(rank, Client(os.environ[ADDRESS])).run()


class Rank:
    """The process of a rank. `link` is the connection to its parent."""

    def __init__(self, rank: int, link: Any) -> None:
        self.rank, self.link = rank, link
        self.interrupt = Interrupt()
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.released = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Receive the order, run the cell, send the result, and wait for the release."""
        self._tell("hello", (self.rank, os.getpid()))
        self.order: Order = self.link.recv()
        with self.interrupt:
            daemon("modal-gpu-orders", self._listen)
            done = self._cell()
        self._tell("done", done)
        self.released.wait()

    def _cell(self) -> Done:
        order, request = self.order, self.order.request
        sender = EventSender()
        capture, input_proxy = Capture(sender), StdinProxy(sender)
        shell = make_shell(sender, input_proxy.ask)
        namespace = self._main(shell.user_ns)
        namespace_sync = NamespaceSync(namespace, namespace)
        follow_imports(namespace)
        store = SharedStore(order.directory)
        sender.begin(request.run, lambda frames: self._tell("frames", frames))
        input_proxy.begin(self.answers.get if request.stdin and self.rank == 0 else None, request.background)
        process = ProcessState(shell)
        process.take(request.states)
        shell.use_comms()
        with unwarned():
            failed = namespace_sync.arrive(request, store, restore_devices=False)
            bind_classes(namespace, [namespace[name] for name in request.values.names if name in namespace])
            shell.take_underscores()
            before = namespace_sync.before(request, store)
        process.begin()
        started = time.time()
        self._tell("began", started)
        outcome = shell.run(request.source, request.execution_count, self.interrupt)
        done = Done(started, time.time(), self._failure(outcome, namespace), self.interrupt.asked, None, failed)
        if self.rank == 0:
            done = replace(done, states=process.changes())
            with unwarned():
                leaving = namespace_sync.leave(request, before, outcome.result, done.ended_at - started, store)
            done = replace(done, leaving=leaving)
        capture.drain()
        sender.flush_now(FLUSH_SECONDS)
        return done

    def _main(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """Make the shell's `__main__` look like a script's: a spawned child runs the file that stands for the cell."""
        namespace["__file__"] = self.order.script
        sys.modules["__mp_main__"] = sys.modules["__main__"]
        sys.argv = [self.order.script]
        return namespace

    def _failure(self, outcome: Outcome, namespace: dict[str, Any]) -> Any:
        failure = failure_of(outcome, namespace)
        return signed(failure, self._label()) if failure else None

    def _label(self) -> str:
        order = self.order
        world = order.nodes if ONE_A_NODE in os.environ else os.environ["WORLD_SIZE"]
        node = f", node {order.node}" if order.nodes > 1 and ONE_A_NODE not in os.environ else ""
        return f"{'node' if ONE_A_NODE in os.environ else 'rank'} {self.rank} of {world}{node}"

    def _tell(self, kind: str, body: Any) -> None:
        with self._lock:
            self.link.send((kind, body))

    def _listen(self) -> None:
        try:
            while True:
                kind, body = self.link.recv()
                if kind == "answer":
                    self.answers.put(body)
                elif kind == "stop":
                    daemon("modal-gpu-stop", self._stop)
                else:
                    self.released.set()
        except (EOFError, OSError):
            if not self.released.is_set():  # the parent has ended: end its cell as well
                os.killpg(0, signal.SIGKILL)

    def _stop(self) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, PRESS)
        time.sleep(STUCK_SECONDS)
        with contextlib.suppress(OSError):
            self._tell("stuck", not self.interrupt.asked)


if __name__ == "__main__":
    main()
