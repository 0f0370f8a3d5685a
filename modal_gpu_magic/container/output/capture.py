"""Capture a cell's text output, in order: descriptors 1 and 2 are pipes, and Python's streams bypass the pipes.

Before a Python write, one system call (`poll`) checks the pipes: their content was written earlier and is sent first.
The original descriptors are kept for Modal's log and for Python's crash reports.
"""

from __future__ import annotations

import codecs
import faulthandler
import fcntl
import logging
import os
import select
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.output.forked import Forked
from modal_gpu_magic.container.output.streams import Stream
from modal_gpu_magic.container.process.output_owner import daemon, fault_logs, is_own_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.wire.messages.events import EventKind

NAMES: Final = {1: "stdout", 2: "stderr"}
PIPE_BYTES: Final = 1 << 20
"""Capacity of a pipe, and the most bytes of one read."""
SET_PIPE_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", None)
"""Linux only: a child may write a megabyte before its next write blocks; on other systems 64 KB."""
READS: Final = 16
"""Most reads of one pipe in a row: a child that writes endlessly must not block `drain`."""
BURST_SECONDS: Final = 0.002
"""Seconds between two reads of a pipe while a program writes to it."""
STUCK_SECONDS: Final = 0.25
"""Seconds that a Python write waits for a sweep before it looks whether that has sent anything: a chunk takes a few
milliseconds, or 50 if the sender thread is behind."""
STUCK_WAITS: Final = 2
"""Such waits in a row, without a chunk sent, before the write goes on. A C call may have held the GIL during one."""
LOG_NAMES: Final = ("modal", "modal-client", "grpclib", "hpack", "synchronicity")
"""Loggers of the SDK and its dependencies: their lines go to Modal's log, not to a cell's output."""


class Capture:
    """Replaces descriptors 1 and 2, `sys.stdout` and `sys.stderr`; passes written text to the `EventSender`."""

    def __init__(self, sender: EventSender) -> None:
        self.lock = threading.RLock()
        self._swept = 0
        """Chunks of the pipes that were sent."""
        self.forked = False
        self._sender = sender
        self._python = (sys.stdout, sys.stderr)
        self._flush_c = _c_streams()
        self._flush()
        self._saved = {fd: os.dup(fd) for fd in NAMES}
        self._decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in NAMES}
        self._pipes = {fd: _pipe_to(fd) for fd in NAMES}
        self._pending = _poll(self._pipes.values())
        """`_pending(0)` is true when a pipe has unread data. Hold `lock`: one thread at a time."""
        os.register_at_fork(after_in_child=self._fork)
        sender.stray = self.log
        sender.to_parent = Forked(self._take_from_child).send
        faulthandler.enable(file=self._saved[2])
        sys.stdout, sys.stderr = (Stream(name, fd, self, sender.text) for fd, name in NAMES.items())
        log = os.fdopen(os.dup(self._saved[2]), "w", buffering=1)
        rebind_handlers(tuple(zip(self._python, (sys.stdout, sys.stderr), strict=True)), log)
        fault_logs.append(self.log)
        daemon("modal-gpu-capture", self._watch)

    def sweep(self) -> None:
        """Send the content of the pipes."""
        with self.lock:
            self._sweep()

    def _sweep(self) -> None:
        for fd, pipe in self._pipes.items():
            for data in _chunks(pipe):
                self._send_text(fd, self._decoders[fd].decode(data))
                self._swept += 1

    def sweep_unread(self) -> None:
        """Send the content of the pipes before a Python write, unless another thread holds the lock and is stuck."""
        if self.lock.acquire(blocking=False) or self._wait_for_lock():
            try:
                if self._pending(0):
                    self.sweep()
            finally:
                self.lock.release()

    def _wait_for_lock(self) -> bool:
        """Acquire `lock`, as long as its holder sends text; return whether it was acquired.

        The garbage collector may run a finalizer in the holder, and the finalizer may wait for a lock of the user's
        that this thread holds (a logging handler's, tqdm's). A line out of order is better than a wait without end.
        """
        if is_own_thread():  # what prints here is such a finalizer, and the holder may wait for this thread
            return False
        waits = 0
        while waits < STUCK_WAITS:
            before = self._swept
            if self.lock.acquire(timeout=STUCK_SECONDS):
                return True
            waits = waits + 1 if self._swept == before else 0
        return False

    def drain(self) -> None:
        """Send all text of a cell at its end, including text buffered by C and by Python's original streams.

        A cell may have ended with a lock for which a finalizer waits in the thread that holds this lock: the text is
        sent without it.
        """
        self._flush()
        is_held = self.lock.acquire(blocking=False) or self._wait_for_lock()
        try:
            self._sweep()
            for fd, decoder in self._decoders.items():
                self._send_text(fd, decoder.decode(b"", final=True))
        finally:
            if is_held:
                self.lock.release()

    def log(self, text: str) -> None:
        """Write to Modal's log."""
        with suppress(OSError):
            os.write(self._saved[2], text.encode("utf-8", "replace"))

    def close(self) -> None:
        """Restore the original descriptors and streams."""
        self.drain()
        fault_logs.remove(self.log)
        rebind_handlers(tuple(zip((sys.stdout, sys.stderr), self._python, strict=True)), self._python[1])
        sys.stdout, sys.stderr = self._python
        faulthandler.enable(file=self._saved[2])
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)

    def _flush(self) -> None:
        for stream in (*self._python, sys.__stdout__, sys.__stderr__):
            if stream is not None:
                with suppress(Exception):  # the cell has closed the stream, or put its own object in place of it
                    stream.flush()
        self._flush_c()

    def _send_text(self, fd: int, text: str) -> None:
        if text:
            self._sender.piped(NAMES[fd], text)

    def _take_from_child(self, kind: EventKind, content: dict[str, Any]) -> None:
        """Forward an event of a forked child, after the text that the child printed before."""
        with self.lock:
            self.sweep()
            self._sender.from_child(kind, content)

    def _watch(self) -> None:
        """Send text that children and C code write, in a thread. Ends when all write ends of the pipes are closed.

        A cell may close or replace one descriptor: its pipe reports a hang-up from then on, and the other one counts.
        """
        pipes = set(self._pipes.values())
        while pipes:
            found = _poll(pipes)(None)
            pipes.difference_update(pipe for pipe, state in found if not state & select.POLLIN)
            if any(state & select.POLLIN for _, state in found):
                self.sweep()
                time.sleep(BURST_SECONDS)

    def _fork(self) -> None:
        self.forked = True


def rebind_handlers(moves: tuple[tuple[Any, Any], ...], log: Any) -> None:
    """Move logging handlers from old streams to new ones; `moves` are pairs of old and new stream.

    The handlers of the SDK's loggers get `log` instead; every other handler gets its stream's replacement.
    """
    for name, logger in [("root", logging.getLogger()), *logging.Logger.manager.loggerDict.items()]:
        is_sdk = name.partition(".")[0] in LOG_NAMES
        for handler in getattr(logger, "handlers", ()):  # a placeholder logger has no handlers
            for old, new in moves:
                if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                    handler.setStream(log if is_sdk else new)


def _pipe_to(fd: int) -> int:
    """Replace descriptor `fd` by a pipe; return the pipe's read end."""
    reader, writer = os.pipe()
    if SET_PIPE_SIZE is not None:
        with suppress(OSError):  # above the user's limit
            fcntl.fcntl(reader, SET_PIPE_SIZE, PIPE_BYTES)
    os.set_blocking(reader, False)
    os.dup2(writer, fd)
    os.close(writer)
    return reader


def _poll(readers: Iterable[int]) -> Callable[[int | None], list[tuple[int, int]]]:
    poll = select.poll()
    for reader in readers:
        poll.register(reader, select.POLLIN)
    return poll.poll


def _chunks(pipe: int) -> Iterator[bytes]:
    for _ in range(READS):
        try:
            data = os.read(pipe, PIPE_BYTES)
        except BlockingIOError:
            return
        if not data:
            return
        yield data


def _c_streams() -> Callable[[], None]:
    """Make C's stdout and stderr line buffered (for a pipe, C would buffer 4 KB); return a function that flushes them.

    The function flushes these two streams only: `fflush(NULL)` would block while another thread reads from any stream.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    names = ("__stdoutp", "__stderrp") if sys.platform == "darwin" else ("stdout", "stderr")
    streams = [ctypes.c_void_p.in_dll(libc, name) for name in names]
    line_buffered = 1  # _IOLBF in glibc, musl and macOS
    for stream in streams:
        libc.setvbuf(stream, None, line_buffered, ctypes.c_size_t(0))

    def flush() -> None:
        for stream in streams:
            libc.fflush(stream)

    return flush
