"""One child process with its pipes: output, end, and description of the end."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modal_proto import api_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.control_plane.containers.fork_server import ContainerPipes

    Log = Callable[[str, api_pb2.FileDescriptor.ValueType], None]

DRAIN_SECONDS = 0.5
"""Longest time to read the pipes of an ended process; its own children may hold them open."""


class Child:
    """The process of one container.

    Attributes:
        pipes: this side of its pipes.
        started: its process id; 0 if it has ended before it began.
        ended: when the process ended, seconds of the monotonic clock; 0: it runs.
    """

    def __init__(self, pipes: ContainerPipes) -> None:
        self.pipes = pipes
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended = 0.0
        self._code: asyncio.Future[int] = loop.create_future()
        self._outputs: list[_Output] = []
        self._killed_for_memory = oom_kills()

    async def watch(self, log: Log) -> None:
        """Start to read the output and to wait for the end."""
        loop = asyncio.get_running_loop()
        self._outputs = [_Output(log, api_pb2.FILE_DESCRIPTOR_STDOUT), _Output(log, api_pb2.FILE_DESCRIPTOR_STDERR)]
        for output, descriptor in zip(self._outputs, (self.pipes.stdout, self.pipes.stderr), strict=True):
            await loop.connect_read_pipe(output.factory, os.fdopen(descriptor, "rb"))
        await loop.connect_read_pipe(lambda: _Status(self), os.fdopen(self.pipes.status, "rb"))

    def note_start(self, process: int) -> None:
        """Note the process id; 0: none will be started. The first note counts."""
        if not self.started.done():
            self.started.set_result(process)

    def note_end(self, code: int | None) -> None:
        """Note the exit code; None: nobody reports one, since a process of ours was killed. The first note counts."""
        if self._code.done():
            return
        self.ended = time.monotonic()
        if code is None:
            code = -signal.SIGKILL if self.started.result() else self.pipes.server.exit_code()
        self._code.set_result(code)
        self.pipes.close()

    async def gone(self) -> int:
        """Wait until the process has ended and its output is read; return the exit code, negative for a signal."""
        code = await asyncio.shield(self._code)
        await asyncio.wait([output.closed for output in self._outputs], timeout=DRAIN_SECONDS)
        return code

    def interrupt(self) -> None:
        """Send SIGINT to the process group: KeyboardInterrupt in user code, then `@exit` hooks."""
        if self.started.done() and self.started.result() and not self._code.done():
            with suppress(ProcessLookupError):
                os.killpg(self.started.result(), signal.SIGINT)

    def end(self) -> None:
        """Kill the process and all its descendants."""
        self.pipes.end()

    def give_up(self) -> None:
        """End the process, and its fork server if that hangs."""
        self.pipes.end()
        if not self.started.done():
            self.pipes.server.kill()

    def describe_end(self, code: int, *, was_ready: bool) -> str:
        """Describe the end in Modal's words: `Runner failed with exit code: -9 (SIGKILL)`."""
        return describe_end(code, out_of_memory=oom_kills() > self._killed_for_memory, was_ready=was_ready)


class _Output(asyncio.Protocol):
    """Decodes one output stream into the log, joining characters that reads have split."""

    def __init__(self, log: Log, descriptor: api_pb2.FileDescriptor.ValueType) -> None:
        self._log, self._descriptor = log, descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def factory(self) -> _Output:
        """Return this protocol, as asyncio expects a factory."""
        return self

    def data_received(self, data: bytes) -> None:
        """Log the complete characters received."""
        if text := self._decoder.decode(data):
            self._log(text, self._descriptor)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note the end of the stream."""
        self.closed.set_result(None)


class _Status(asyncio.Protocol):
    """Reads a guard's report: the process id, then the exit code."""

    def __init__(self, child: Child) -> None:
        self._child, self._text = child, b""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Note what is complete."""
        self._text += data
        lines = self._text.split(b"\n")[:-1]
        if lines:
            self._child.note_start(int(lines[0]))
        if lines[1:] and self._transport is not None:
            self._child.note_end(int(lines[1]))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note that the guard, or who should have started it, has ended, if that comes without a report."""
        self._child.note_start(0)
        self._child.note_end(None)


def oom_kills() -> int:
    """Return the number of processes that Linux has killed for memory since boot; 0 on other systems."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def describe_end(code: int, *, out_of_memory: bool, was_ready: bool) -> str:
    """Describe an exit code. `out_of_memory`: Linux killed a process for memory during the container's life."""
    text = f"Runner failed with exit code: {code}"
    if code < 0:
        with suppress(ValueError):
            text += f" ({signal.Signals(-code).name})"
    if code == -signal.SIGKILL and out_of_memory:
        text += ": this machine ran out of memory, and Linux killed the container"
    return text if was_ready else f"{text} during startup"
