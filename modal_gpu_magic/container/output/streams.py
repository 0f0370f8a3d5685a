"""`sys.stdout` and `sys.stderr` of the container: text goes to the event sender, after the content of the pipes.

The streams have the full interface of a text stream. Calls without a meaning in a container (`close`, another
encoding) are accepted and ignored, so that no cell can disable the output of the next one.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from modal_gpu_magic.container.process.interrupt import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable


class Pipes(Protocol):
    """The part of `Capture` that a stream uses."""

    forked: bool

    def sweep_unread(self) -> None:
        """Send the content of the pipes, if they have any."""


class Stream(io.TextIOBase):
    """One of the two streams. `emit(name, text)` receives the written text."""

    encoding = "UTF-8"
    errors = "backslashreplace"
    mode = "w"
    line_buffering = write_through = True

    def __init__(self, name: str, fd: int, pipes: Pipes, emit: Callable[[str, str], None]) -> None:
        super().__init__()
        self.name = name
        self._fd, self._pipes, self._emit = fd, pipes, emit
        self._bytes = _Bytes(fd)

    @property
    def buffer(self) -> io.BufferedWriter:
        """A binary stream that writes to the descriptor at once."""
        if self._bytes.closed:  # a deleted `TextIOWrapper` closes its buffer
            self._bytes = _Bytes(self._fd)
        return self._bytes

    def write(self, text: str) -> int:
        """Write text. A forked child has no event sender: its text goes into the pipe, which the parent reads."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text)}")
        pipes = self._pipes
        if pipes.forked:
            self.buffer.write(text.encode("utf-8", "backslashreplace"))
            return len(text)
        pipes.sweep_unread()
        self._emit(self.name, text)
        checkpoint(whole=text[-1:] in {"", "\n"})
        return len(text)

    def flush(self) -> None:
        """Send the content of the pipes before any later output; the stream itself has no buffer."""
        pipes = self._pipes
        if not pipes.forked:
            pipes.sweep_unread()

    def fileno(self) -> int:
        """The descriptor: a child process that gets this stream writes into the cell's output."""
        return self._fd

    def isatty(self) -> bool:
        """Return False: a notebook is not a terminal."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def reconfigure(self, **_: Any) -> None:
        """Do nothing: encoding, errors, newlines and buffering are fixed."""

    def close(self) -> None:
        """Do nothing: a cell cannot close the stream of the next cell."""


class _Bytes(io.BufferedWriter):
    """Buffered only to write large data completely; every write is flushed."""

    def __init__(self, fd: int) -> None:
        super().__init__(io.FileIO(fd, "w", closefd=False))

    def write(self, data: Any) -> int:
        written = super().write(data)
        self.flush()
        return written


def flush_streams() -> None:
    """Send all text written so far; call this before sending any other output."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a stream of the user's, or none
            stream.flush()
