"""The far side in a process of its own, as tests drive it: cells in, messages out. This file is also that process.

Real parts only: shell, streams, outlet, interrupt, watchdog, asker. What stands in for Modal's queue is a list.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from modal_gpu_magic.wire.messages.events import Event, Frame
from modal_gpu_magic.wire.messages.log import Assembler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cell:
    """One cell as the process runs it.

    `answers` to its `input()`s, None: nobody is there. `posts`: a directory in which each event that is posted while
    the cell runs makes a file: `stream 1`, `input_request 2`.
    """

    source: str
    count: int = 1
    answers: tuple[str, ...] | None = None
    posts: str = ""
    timeout: float | None = None
    grace: float = 10.0


@dataclass
class Ran:
    """How a cell ended, and everything it put out, in number order."""

    ename: str = ""
    evalue: str = ""
    traceback: tuple[str, ...] = ()
    result: str | None = None
    asked: bool = False
    timed_out: bool = False
    frames: int = 0
    events: list[Event] = field(default_factory=list)

    def text(self, name: str = "stdout") -> str:
        return text_of(e for e in self.events if e.kind == "stream" and e.content["name"] == name)

    def kinds(self) -> list[str]:
        """Of the events in order; how many pieces a text comes in is a matter of time."""
        kinds = [event.kind for event in self.events]
        return [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if (kind, before) != ("stream",) * 2]


class FarSide:
    """A started process. Use as a context manager."""

    def __init__(self, **environment: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        env.pop("PYTHONUNBUFFERED", None)  # it would flush what the far side has to flush
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )
        self.log: list[bytes] = []
        self._logger = threading.Thread(target=self._read_log, daemon=True)
        self._logger.start()
        self.count = 0
        self.late: list[tuple[str, Event]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._logger.join(5)  # a child that a cell has left behind may have the log open

    def whole_log(self) -> str:
        """The log of the ended process."""
        self._logger.join(60)
        return b"".join(self.log).decode()

    def run(self, source: str, **options: Any) -> Ran:
        """Run a cell to its end."""
        self.send(source, **options)
        return self.ended()

    def send(self, source: str, **options: Any) -> None:
        """Begin a cell; comes back when user code is about to run."""
        self.count = options.pop("count", self.count + 1)
        _write(self.process.stdin, Cell(source, self.count, **options))
        _read(self.process.stdout)

    def ended(self) -> Ran:
        """Wait for the cell to end. `EOFError`: the process did."""
        ran: Ran
        ran, frames, tail = _read(self.process.stdout)
        run = f"run {self.count}"
        assembler = Assembler()
        for frame in self._frames(frames, run):
            ran.events += assembler.feed(frame)
        ran.events += assembler.feed(Frame(run, tail))
        return ran

    def later(self, text: str = "") -> list[Event]:
        """What the last runs' threads put out after the last cell, up to `text`."""
        _write(self.process.stdin, text)
        _, frames, _ = _read(self.process.stdout)
        return [event for frame in map(pickle.loads, frames) for event in frame.events]

    def press(self, number: int = signal.SIGUSR1) -> None:
        """■, as Modal passes it on."""
        self.process.send_signal(number)

    def _frames(self, blobs: list[bytes], run: str) -> list[Frame]:
        frames: list[Frame] = [pickle.loads(blob) for blob in blobs]
        self.late += [(frame.run, event) for frame in frames if frame.run != run for event in frame.events]
        return [frame for frame in frames if frame.run == run]

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as log:
            self.log += log


def mark(path: Path) -> str:
    """An expression by which a cell says that it has come so far: it makes `path`.

    No function in Python is called, so that a press at this moment is raised in the cell's own line.
    """
    return f"__import__('os').mkdir({str(path)!r})"


def text_of(events: Iterable[Event]) -> str:
    """Their text; how many pieces it comes in is a matter of time."""
    return "".join(event.content["text"] for event in events if event.kind == "stream")


def _write(pipe: IO[bytes] | None, value: object) -> None:
    assert pipe is not None
    pickle.dump(value, pipe)
    pipe.flush()


def _read(pipe: IO[bytes] | None) -> Any:
    assert pipe is not None
    return pickle.load(pipe)


def main() -> None:
    """The process: cells from stdin, answers to stdout; its own descriptors 1 and 2 are the cells'."""
    import logging

    from modal_gpu_magic.container.cell.shell import make_shell
    from modal_gpu_magic.container.output.capture import Capture
    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
    from modal_gpu_magic.container.process.interrupt import Interrupt
    from modal_gpu_magic.container.process.watchdog import Watchdog

    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name in ("modal-client", "library"):
        logging.getLogger(name).addHandler(logging.StreamHandler())
    sender = EventSender()
    capture = Capture(sender)
    input_proxy = StdinProxy(sender)
    shell = make_shell(sender, input_proxy.ask)
    posted: list[bytes] = []

    def posted_text() -> str:
        return text_of(event for frame in map(pickle.loads, posted[:]) for event in frame.events)

    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        if isinstance(request, str):
            while not posted_text().endswith(request):
                time.sleep(0.01)
            sender.flush_now(60)
            _write(replies, (None, posted[:], ()))
            posted.clear()
            continue
        answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        for answer in request.answers or ():
            answers.put(answer)
        sender.begin(f"run {request.count}", _noting(posted, request.posts))
        input_proxy.begin(answers.get if request.answers is not None else None)
        with Interrupt() as interrupt, Watchdog(interrupt, request.timeout, grace=request.grace):
            _write(replies, "begun")
            outcome = shell.run(request.source, request.count, interrupt)
        capture.drain()
        finished = sender.finish()
        ran = Ran(
            outcome.ename,
            outcome.evalue,
            outcome.traceback,
            repr(outcome.result[0]) if outcome.result else None,
            interrupt.asked,
            interrupt.timed_out,
            finished.frames,
        )
        frames, posted[:] = posted[:], []
        _write(replies, (ran, frames, finished.tail))


def _noting(posted: list[bytes], directory: str) -> Callable[[list[bytes]], None]:
    """A post that keeps the frames, and notes their events in a directory."""
    counts = Counter[str]()

    def post(blobs: list[bytes]) -> None:
        posted.extend(blobs)
        for event in (event for frame in map(pickle.loads, blobs) for event in frame.events):
            counts[event.kind] += 1
            Path(directory, f"{event.kind} {counts[event.kind]}").touch()

    return post if directory else posted.extend


if __name__ == "__main__":
    # The class must be the importable one on both sides of the pipe.
    from tests.container import far_side

    far_side.main()
