"""The processes of a cell's ranks on this node: started, listened to, stopped, and none left behind.

A rank may be stuck where no exception reaches it (a collective whose partner is gone, a kernel that does not return),
may be killed, may have children of its own. Whatever it is, when `close` returns nothing of them lives.
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
from modal_gpu_magic.wire.messages.log import Assembler
from modal_gpu_magic.wire.messages.seal import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

    from modal_gpu_magic.wire.messages.events import Event

STOP_SECONDS: Final = 6.0
"""How long ranks that heard of a stop may clean up. Less than the watchdog's grace, which ends the container."""
EXIT_SECONDS: Final = 15.0
"""How long ranks that have ended may take to leave: exit handlers, torchrun's own barrier."""
CRASH_CHARACTERS: Final = 1500
REPORT_SECONDS: Final = 5.0
"""How long torchrun has to notice a rank that is gone; it takes no notice of one that left with status 0."""
TEARDOWN_SECONDS: Final = 30.0
"""How long it may take to end the others, and to say how the first one died."""
LAST_LINES: Final = 20
"""Lines kept of each rank's output, for the error that says how it died."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a rank died, or what starts the ranks. `code`: an exit status, or minus a signal; None: not known."""

    rank: int | None
    code: int | None
    words: str
    """The last it wrote."""


@dataclass(slots=True)
class _Member:
    link: Any
    pid: int
    assembler: Assembler = field(default_factory=Assembler)
    said: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    done: Done | None = None
    stuck: bool = False
    gone: bool = False
    """It has let go of its socket."""
    left: bool = False
    """It is gone, its cell had not ended, and nobody will say why."""


class RankProcesses:
    """The ranks of one cell. Use it in a `with`; `hear(rank, event)` gets their events, from threads.

    Args:
        order: what each runs. size: how many there are on this node.
        directory: for the socket and the log; of a short path, and removed by whoever made it.
    """

    def __init__(self, order: Order, size: int, directory: Path, hear: Callable[[int, Event], None]) -> None:
        self.order, self.size, self.directory, self.hear = order, size, directory, hear
        self._members: dict[int, _Member] = {}
        self.exited: int | None = None
        """Exit status of what started the ranks."""
        self.death: Death | None = None
        """How the first rank died, known when the crew is closed; None: none did, by itself."""
        self._changed = threading.Condition()
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._address = str(directory / "ranks")
        self._closed = False
        self._early: list[int] = []
        """Ranks that are gone although their cell had not ended, in that order."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._listener = Listener(self._address, "AF_UNIX", backlog=64)
        daemon("modal-gpu-ranks", self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        """Start the ranks, by a command that ends when they have; its own words go to a log."""
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
        """Until all ranks have ended, or one has failed, or nothing of them is left."""
        self._over.get()

    def answer(self, text: str) -> None:
        """What was typed for rank 0's `input()`."""
        self._send(0, "answer", text)

    def release(self) -> None:
        """All have ended: they may leave, as processes do."""
        for rank in self.members:
            self._send(rank, "go")
        with self._changed:
            self._changed.wait_for(lambda: self.exited is not None, EXIT_SECONDS)

    def stop(self) -> None:
        """KeyboardInterrupt in every rank; returns when each has ended, or none of the rest can hear of it."""
        running = {rank: member for rank, member in self.members.items() if member.done is None}
        for rank in running:
            self._send(rank, "stop")
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self.exited is not None or all(each.done or each.stuck or each.gone for each in running.values())
                ),
                STOP_SECONDS,
            )

    def close(self) -> None:
        """End whatever is left, children included."""
        self._closed = True
        if self._process is not None:
            self.death = self._death()
            self._kill(self._process.pid)
            self._process.wait()
        with contextlib.suppress(OSError):
            Client(self._address).close()  # `accept` wakes up
        self._listener.close()
        for member in self.members.values():
            member.link.close()

    @property
    def members(self) -> dict[int, _Member]:
        """The ranks that have connected so far, in a copy: another thread adds ranks at any time."""
        with self._changed:
            return dict(self._members)

    @property
    def dones(self) -> dict[int, Done]:
        """How the cell ended, in each rank where it did."""
        return {rank: member.done for rank, member in self.members.items() if member.done}

    def _death(self) -> Death | None:
        if not self.exited and not self._early:
            return None
        rank, code = self._reported() if self.exited else (self._early[0], None)
        member = self.members.get(-1 if rank is None else rank)
        said = "".join(member.said).splitlines(keepends=True)[-LAST_LINES:] if member else []
        log = (self.directory / "log").read_text("utf-8", "replace")
        return Death(rank, code, "".join(said) + _crash(log) if member else log[-4000:])

    def _reported(self) -> tuple[int | None, int | None]:
        report = self.directory / "report"
        if report.exists():
            found = json.loads(report.read_text(encoding="utf-8"))
            return int(found["rank"]), int(found["exitcode"])
        started = self._process.pid if self._process else 0  # without torchrun it is the rank itself
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
        """Listen to one rank to its end."""
        with contextlib.suppress(EOFError, OSError):
            _, (rank, pid) = link.recv()
            member = _Member(link, pid)
            link.send(self.order if rank == 0 else _quieter(self.order))
            with self._changed:
                self._members[rank] = member
            with contextlib.suppress(EOFError, OSError):
                while True:
                    self._take(rank, member, *link.recv())
            self._see_off(rank, member)

    def _see_off(self, rank: int, member: _Member) -> None:
        """A rank is gone: wait for torchrun's word if its cell had not ended."""
        with self._changed:
            member.gone = True
            if member.done is not None:
                return
            self._early.append(rank)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.exited is not None, REPORT_SECONDS)
            self._changed.wait_for(
                lambda: self.exited is not None or not all(each.gone for each in self.members.values()),
                TEARDOWN_SECONDS,
            )
            member.left = True
            self._notice()

    def _take(self, rank: int, member: _Member, kind: str, body: Any) -> None:
        if kind == "frames":
            for blob in body:
                self._events(rank, member, blob)
            return
        with self._changed:
            if kind == "done":
                member.done = body
            else:
                member.stuck = body
            self._notice()

    def _events(self, rank: int, member: _Member, blob: bytes) -> None:
        for event in member.assembler.feed(opened(blob)):
            if event.kind == "stream":
                member.said.append(event.content["text"][-2000:])
            self.hear(rank, event)

    def _await_exit(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._changed:
            self.exited = code
            self._notice()

    def _notice(self) -> None:
        """Something has changed: whether that is the end. With the lock held."""
        dones = self.dones
        failed = any(done.failure for done in dones.values()) or any(each.left for each in self.members.values())
        if len(dones) == self.size or self.exited is not None or failed:
            self._over.put(None)
        self._changed.notify_all()

    def _send(self, rank: int, kind: str, body: Any = None) -> None:
        with contextlib.suppress(OSError, KeyError):  # it has died: that is noticed elsewhere
            self.members[rank].link.send((kind, body))

    def _kill(self, launcher: int) -> None:
        """Kill every process that a rank or its parent started, also one that left its group."""
        for pid in (launcher, *(member.pid for member in self.members.values())):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for pid in below(self._address):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def below(address: str) -> list[int]:
    """Living processes that have the socket in their environment. Linux only: elsewhere their groups must do."""
    needle, found = f"{ADDRESS}={address}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if needle in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _quieter(order: Order) -> Order:
    """Nobody is asked by any rank but the first."""
    return replace(order, request=replace(order.request, stdin=False))


def _crash(log: str) -> str:
    """What Python wrote when a rank died, if it could: faulthandler's fault and thread, or a traceback."""
    begin = log.find("Fatal Python error")
    if begin < 0:
        begin = log.find("Traceback (most recent call last)")
        return log[begin : begin + CRASH_CHARACTERS] if begin >= 0 else ""
    fault, thread = log[begin:].partition("\n")[0], log.find("Current thread", begin)
    return f"{fault}\n{log[thread:].partition(chr(10) * 2)[0][:CRASH_CHARACTERS]}" if thread >= 0 else fault
