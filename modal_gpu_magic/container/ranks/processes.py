"""Start, follow, stop and kill the processes of a cell's ranks on this node.

A rank may hang where no exception reaches it (a collective whose peer has died, a GPU kernel that does not return), may
be killed, and may have child processes. In every case no process of a rank runs any more after `close` returns.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.process.interrupt import interruptible
from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.container.ranks.protocol import ADDRESS, Done, Order
from modal_gpu_magic.wire.inspection.crash_report import crash_report
from modal_gpu_magic.wire.messages.log import Assembler
from modal_gpu_magic.wire.messages.seal import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

    from modal_gpu_magic.wire.messages.events import Event

STOP_SECONDS: Final = 6.0
"""Seconds that ranks may take to end after a stop. Less than the watchdog's grace, which ends the container."""
EXIT_SECONDS: Final = 15.0
"""Seconds that ranks may take to exit after their cell has ended: exit handlers, torchrun's barrier."""
CRASH_CHARACTERS: Final = 1500
"""Characters of a crash report shown in the error."""
REPORT_SECONDS: Final = 5.0
"""Seconds that torchrun may take to report a dead rank; it does not report a rank that exits with status 0."""
TEARDOWN_SECONDS: Final = 30.0
"""Seconds that torchrun may take to end the other ranks and report how the first one died."""
LAST_LINES: Final = 20
"""Lines of each rank's output kept for the error that describes its death."""


@dataclass(frozen=True, slots=True)
class Death:
    """The death of a rank or of the launcher.

    Attributes:
        rank: the rank; None: the launcher.
        code: the exit status, or a negative signal number; None: unknown.
        words: the last output of the process.
    """

    rank: int | None
    code: int | None
    words: str


@dataclass(slots=True)
class _Member:
    link: Any
    pid: int
    assembler: Assembler = field(default_factory=Assembler)
    last_output: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    done: Done | None = None
    stuck: bool = False
    disconnected: bool = False
    """The rank has closed its socket."""
    died: bool = False
    """The rank disconnected before the cell ended, and the wait for torchrun's report is over."""


class RankProcesses:
    """The ranks of one cell on this node, as a context manager.

    Args:
        order: the order for each rank.
        size: number of ranks on this node.
        directory: holds the socket and the log; its path must be short. The caller removes it.
        hear: receives each rank's number and event; called from threads.
        begun: receives the time when user code began in the first rank, in Unix seconds; called from a thread.
    """

    def __init__(
        self,
        order: Order,
        size: int,
        directory: Path,
        hear: Callable[[int, Event], None],
        begun: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.order, self.size, self.directory, self.hear, self._begun = order, size, directory, hear, begun
        self.began_at: float | None = None
        """When user code began in the first rank, in Unix seconds."""
        self._members: dict[int, _Member] = {}
        self.exited: int | None = None
        """Exit status of the launcher."""
        self.death: Death | None = None
        """The death of the first rank, set by `close`; None: no rank died on its own."""
        self._changed = threading.Condition()
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._address = str(directory / "ranks")
        self._closed = False
        self._early: list[int] = []
        """Ranks that disconnected before their cell had ended, in that order."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._listener = Listener(self._address, "AF_UNIX", backlog=64)
        daemon("modal-gpu-ranks", self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        """Start the ranks by `command`, which ends after them and writes its own output to a log."""
        environ = {
            **os.environ,
            **variables,
            ADDRESS: self._address,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        with (self.directory / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environ, start_new_session=True
            )
        self._process = process
        daemon("modal-gpu-launch", lambda: self._await_exit(process))

    @interruptible
    def wait(self) -> None:
        """Wait until all ranks have ended, one has failed, or the launcher has exited."""
        self._over.get()

    def answer(self, text: str) -> None:
        """Send the answer for rank 0's `input()`."""
        self._send(0, "answer", text)

    def release(self) -> None:
        """Let the ranks exit, after all have ended their cell."""
        for rank in self.members:
            self._send(rank, "go")
        with self._changed:
            self._changed.wait_for(lambda: self.exited is not None, EXIT_SECONDS)

    def stop(self) -> None:
        """Raise KeyboardInterrupt in every rank; return when each rank has ended, is stuck or has disconnected."""
        running = {rank: member for rank, member in self.members.items() if member.done is None}
        for rank in running:
            self._send(rank, "stop")
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self.exited is not None
                    or all(each.done or each.stuck or each.disconnected for each in running.values())
                ),
                STOP_SECONDS,
            )

    def close(self) -> None:
        """Kill the remaining processes, children included."""
        self._closed = True
        if self._process is not None:
            self.death = self._death()
            self._kill(self._process.pid)
            self._process.wait()
        with contextlib.suppress(OSError):
            Client(self._address).close()  # wakes `accept`
        self._listener.close()
        for member in self.members.values():
            member.link.close()

    @property
    def members(self) -> dict[int, _Member]:
        """A copy of the ranks connected so far: another thread adds ranks at any time."""
        with self._changed:
            return dict(self._members)

    @property
    def dones(self) -> dict[int, Done]:
        """The results of the ranks whose cell has ended."""
        return {rank: member.done for rank, member in self.members.items() if member.done}

    def _death(self) -> Death | None:
        if not self.exited and not self._early:
            return None
        rank, code = self._reported() if self.exited else (self._early[0], None)
        member = self.members.get(-1 if rank is None else rank)
        lines = "".join(member.last_output).splitlines(keepends=True)[-LAST_LINES:] if member else []
        log = (self.directory / "log").read_text("utf-8", "replace")
        return Death(rank, code, "".join(lines) + _crash(log) if member else log[-4000:])

    def _reported(self) -> tuple[int | None, int | None]:
        report = self.directory / "report"
        if report.exists():
            found = json.loads(report.read_text(encoding="utf-8"))
            return int(found["rank"]), int(found["exitcode"])
        started = self._process.pid if self._process else 0  # without torchrun, the launcher is the rank
        return next((rank for rank, member in self.members.items() if member.pid == started), None), self.exited or 0

    # Threads.

    def _accept(self) -> None:
        while not self._closed:
            try:
                link = self._listener.accept()
            except OSError:
                return
            daemon("modal-gpu-rank", partial(self._read, link))

    def _read(self, link: Any) -> None:
        """Receive the messages of one rank until the rank disconnects."""
        with contextlib.suppress(EOFError, OSError):
            _, (rank, pid) = link.recv()
            member = _Member(link, pid)
            link.send(self.order if rank == 0 else _without_stdin(self.order))
            with self._changed:
                self._members[rank] = member
            with contextlib.suppress(EOFError, OSError):
                while True:
                    self._take(rank, member, *link.recv())
            self._disconnected(rank, member)

    def _disconnected(self, rank: int, member: _Member) -> None:
        """Record a disconnected rank; if its cell had not ended, wait for torchrun's report."""
        with self._changed:
            member.disconnected = True
            if member.done is not None:
                return
            self._early.append(rank)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.exited is not None, REPORT_SECONDS)
            self._changed.wait_for(
                lambda: self.exited is not None or not all(each.disconnected for each in self.members.values()),
                TEARDOWN_SECONDS,
            )
            member.died = True
            self._notice()

    def _take(self, rank: int, member: _Member, kind: str, body: Any) -> None:
        if kind == "frames":
            for blob in body:
                self._events(rank, member, blob)
            return
        with self._changed:
            if kind == "began":
                if self.began_at is None:
                    self.began_at = body
                    self._begun(body)
                return
            if kind == "done":
                member.done = body
            else:
                member.stuck = body
            self._notice()

    def _events(self, rank: int, member: _Member, blob: bytes) -> None:
        for event in member.assembler.feed(opened(blob)):
            if event.kind == "stream":
                member.last_output.append(event.content["text"][-2000:])
            self.hear(rank, event)

    def _await_exit(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._changed:
            self.exited = code
            self._notice()

    def _notice(self) -> None:
        """End `wait` if the run is over, and notify other waiting threads. Requires the lock."""
        dones = self.dones
        failed = any(done.failure for done in dones.values()) or any(each.died for each in self.members.values())
        if len(dones) == self.size or self.exited is not None or failed:
            self._over.put(None)
        self._changed.notify_all()

    def _send(self, rank: int, kind: str, body: Any = None) -> None:
        with contextlib.suppress(OSError, KeyError):  # another thread reports the death of the rank
            self.members[rank].link.send((kind, body))

    def _kill(self, launcher: int) -> None:
        """Kill every process that a rank or its parent started, also one that left its group."""
        for pid in (launcher, *(member.pid for member in self.members.values())):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for pid in descendants(self._address):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def descendants(address: str) -> list[int]:
    """Return running processes with the socket in their environment. Linux only: elsewhere, process groups suffice."""
    needle, found = f"{ADDRESS}={address}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
            if needle in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _without_stdin(order: Order) -> Order:
    """Return the order without `stdin`: only rank 0 may ask the user."""
    return replace(order, request=replace(order.request, stdin=False))


def _crash(log: str) -> str:
    """Extract Python's crash report from the log: faulthandler's fault and thread, or a traceback."""
    report = crash_report(log)
    if report is not None:
        return "\n".join(filter(None, (report.fault, report.thread[:CRASH_CHARACTERS])))
    begin = log.find("Traceback (most recent call last)")
    return log[begin : begin + CRASH_CHARACTERS] if begin >= 0 else ""
