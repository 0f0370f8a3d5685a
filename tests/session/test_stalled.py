"""A network that stalls in the middle of a run: what the pump asks beside the run does not pile up."""

from __future__ import annotations

import os
import queue
import signal
import threading
from typing import Any

from modal_gpu_magic import Session
from modal_gpu_magic.session.run.cell import Cell
from modal_gpu_magic.session.run.front import SilentFront, State

TICKS = 5


class StallingInbox(queue.SimpleQueue[Any]):
    """Stops the control plane's process as soon as the call has been sent."""

    pid = 0

    def put(self, item: Any, *_: object, **__: object) -> None:
        if item[0] == "spawned":
            os.kill(self.pid, signal.SIGSTOP)
        super().put(item)


class Counting(SilentFront):
    """Counts the threads of ours each time the status is shown; after some ticks the control plane goes on."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.pid, self.threads, self.others = pid, list[int](), set(threading.enumerate())

    def show(self, state: State) -> None:
        if state.phase in ("waiting", "starting"):
            ours = set(threading.enumerate()) - self.others
            self.threads.append(sum(thread.name == "modal-gpu-request" for thread in ours))
            if len(self.threads) == TICKS:
                os.kill(self.pid, signal.SIGCONT)


def test_what_is_asked_while_the_network_stalls_is_asked_once() -> None:
    session = Session(name="stalled", backend="local")
    session.run("pass")
    app: Any = session.app
    inbox, front = StallingInbox(), Counting(app.backend.process.pid)
    inbox.pid = front.pid
    try:
        assert session.execute(Cell("1 + 1"), front, inbox).result == 2
    finally:
        os.kill(front.pid, signal.SIGCONT)
        session.stop()
    assert len(front.threads) >= TICKS
    assert max(front.threads) <= 1
