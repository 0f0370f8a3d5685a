"""`sys.stdout` and `sys.stderr` of the container: text goes to the outlet, behind whatever lies in the pipes already.

They have what code asks of a text stream; what makes no sense here (`close`, another encoding) is accepted and ignored,
so that no cell can take the output away from the next one.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Protocol

from modal_gpu_magic.container.process.interrupt import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock


class Pipes(Protocol):
    """What a stream needs to know of the descriptors: `Capture` has it."""

    lock: RLock
    forked: bool

    @property
    def pending(self) -> Callable[[int], object]:
        """`pending(0)` is true when something lies in a pipe; hold `lock`."""

    def sweep(self) -> None:
        """Hand over what lies in the pipes."""


class Stream(io.TextIOBase):
    """One of the two streams. `emit(name, text)` takes what is written."""

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
        """Bytes, written to the descriptor at once."""
        if self._bytes.closed:  # a wrapper around it was thrown away
            self._bytes = _Bytes(self._fd)
        return self._bytes

    def write(self, text: str) -> int:
        """Write text. After a fork there is no outlet, and the descriptor's pipe leads to the parent's."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text)}")
        pipes = self._pipes
        if pipes.forked:
            self.buffer.write(text.encode("utf-8", "backslashreplace"))
            return len(text)
        with pipes.lock:
            if pipes.pending(0):
                pipes.sweep()
        self._emit(self.name, text)
        checkpoint(whole=text[-1:] in {"", "\n"})
        return len(text)

    def flush(self) -> None:
        """Nothing is held back here; what lies in the pipes goes ahead of whatever comes next."""
        pipes = self._pipes
        if not pipes.forked:
            with pipes.lock:
                if pipes.pending(0):
                    pipes.sweep()

    def fileno(self) -> int:
        """The descriptor: a child given this stream writes into the cell."""
        return self._fd

    def isatty(self) -> bool:
        """A notebook is no terminal."""
        return False

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def reconfigure(self, **_: Any) -> None:
        """Encoding, errors, newlines and buffering are fixed."""

    def close(self) -> None:
        """A cell cannot close the stream of the next one."""


class _Bytes(io.BufferedWriter):
    """Buffered only to get a large write through whole; nothing stays in it."""

    def __init__(self, fd: int) -> None:
        super().__init__(io.FileIO(fd, "w", closefd=False))

    def write(self, data: Any) -> int:
        written = super().write(data)
        self.flush()
        return written


def flush_streams() -> None:
    """Before anything that is not text is put out: what was written so far goes first."""
    sys.stdout.flush()
    sys.stderr.flush()
