"""What a cell writes: descriptors 1 and 2 are pipes, Python's own streams go past them, and the order stays exact.

A Python write costs one system call, a `poll`: what lies in a pipe was written earlier, so it goes first. The
descriptors as they were are kept for Modal's log, a crash's last words included.
"""

from __future__ import annotations

import codecs
import contextlib
import faulthandler
import fcntl
import logging
import os
import select
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.output.forked import Forked
from modal_gpu_magic.container.output.streams import Stream
from modal_gpu_magic.container.process.output_owner import daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.wire.messages.events import EventKind

NAMES: Final = {1: "stdout", 2: "stderr"}
PIPE_BYTES: Final = 1 << 20
SET_PIPE_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", None)
"""Linux only: a child may run ahead of us by a megabyte then, else by 64 KB."""
READS: Final = 16
"""Reads of one pipe at a time: a child that writes without end must not keep whoever drains."""
BURST: Final = 0.002
"""Seconds between two looks at a pipe that is being written to."""
LOG_NAMES: Final = ("modal", "modal-client", "grpclib", "hpack", "synchronicity")
"""Loggers of the SDK and what it stands on: their lines belong to Modal's log and to no cell."""


class Capture:
    """Takes descriptors 1 and 2, `sys.stdout` and `sys.stderr`; hands what is written to the outlet."""

    def __init__(self, sender: EventSender) -> None:
        self.lock = threading.RLock()
        self.forked = False
        self._sender = sender
        self._python = (sys.stdout, sys.stderr)
        self._flush_c = _c_streams()
        self._flush()
        self._saved = {fd: os.dup(fd) for fd in NAMES}
        self._decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in NAMES}
        self._pipes = {fd: _pipe_to(fd) for fd in NAMES}
        self.pending = _poll(self._pipes.values())
        """`pending(0)` is true when something lies in a pipe. One thread at a time: hold `lock`."""
        os.register_at_fork(after_in_child=self._fork)
        sender.stray = self.log
        sender.to_parent = Forked(self._take_from_child).send
        faulthandler.enable(file=self._saved[2])
        sys.stdout, sys.stderr = (Stream(name, fd, self, sender.text) for fd, name in NAMES.items())
        log = os.fdopen(os.dup(self._saved[2]), "w", buffering=1)
        rebind_handlers(tuple(zip(self._python, (sys.stdout, sys.stderr), strict=True)), log)
        daemon("modal-gpu-capture", self._watch)

    def sweep(self) -> None:
        """Hand over what lies in the pipes."""
        with self.lock:
            for fd, pipe in self._pipes.items():
                for data in _chunks(pipe):
                    self._hand_over(fd, self._decoders[fd].decode(data))

    def drain(self) -> None:
        """The end of a cell: hand over all that was written, also what C and Python's first streams hold back."""
        self._flush()
        self.sweep()
        with self.lock:
            for fd, decoder in self._decoders.items():
                self._hand_over(fd, decoder.decode(b"", final=True))

    def log(self, text: str) -> None:
        """Write to Modal's log."""
        with contextlib.suppress(OSError):
            os.write(self._saved[2], text.encode("utf-8", "replace"))

    def close(self) -> None:
        """Give descriptors and streams back."""
        self.drain()
        rebind_handlers(tuple(zip((sys.stdout, sys.stderr), self._python, strict=True)), self._python[1])
        sys.stdout, sys.stderr = self._python
        faulthandler.enable(file=self._saved[2])
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)

    def _flush(self) -> None:
        for stream in (*self._python, sys.__stdout__, sys.__stderr__):
            if stream is not None:
                with contextlib.suppress(ValueError, OSError):  # closed by the cell
                    stream.flush()
        self._flush_c()

    def _hand_over(self, fd: int, text: str) -> None:
        if text:
            self._sender.piped(NAMES[fd], text)

    def _take_from_child(self, kind: EventKind, content: dict[str, Any]) -> None:
        """What the child has printed before lies in the pipes."""
        with self.lock:
            self.sweep()
            self._sender.from_child(kind, content)

    def _watch(self) -> None:
        """What children and C write while no Python code does. Ends when nobody holds the pipes' other ends."""
        wait = _poll(self._pipes.values())
        while any(state & select.POLLIN for _, state in wait(None)):
            self.sweep()
            time.sleep(BURST)

    def _fork(self) -> None:
        self.forked = True


def rebind_handlers(moves: tuple[tuple[Any, Any], ...], log: Any) -> None:
    """Logging handlers made before there was a cell hold on to the old streams; `moves` are pairs of old and new.

    The SDK's get `log`; any other gets the stream that took its own one's place.
    """
    for name, logger in [("root", logging.getLogger()), *logging.Logger.manager.loggerDict.items()]:
        ours = name.partition(".")[0] in LOG_NAMES
        for handler in getattr(logger, "handlers", ()):  # a placeholder has none
            for old, new in moves:
                if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                    handler.setStream(log if ours else new)


def _pipe_to(fd: int) -> int:
    """Put a pipe in the place of descriptor `fd`; returns the end to read from."""
    reader, writer = os.pipe()
    if SET_PIPE_SIZE is not None:
        with contextlib.suppress(OSError):  # more than a user may have
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
    """C's own stdout and stderr: made line buffered (into a pipe they would keep 4 KB back); returns what flushes them.

    Only these two: `fflush(NULL)` would wait for a thread that sits in a read of any other.
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
