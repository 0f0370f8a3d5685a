"""One child process with its pipes: output, end, and description of the end."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.containers.shim import end_family

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.control_plane.containers.standby import WarmProcess

    Log = Callable[[str, api_pb2.FileDescriptor.ValueType], None]

DRAIN_SECONDS = 0.5
"""Longest time to read the pipes of an ended process; its own children may hold them open."""


class Child:
    """The process of one container.

    Attributes:
        ended: when the process ended, seconds of the monotonic clock; 0: it runs.
    """

    def __init__(self, warm_process: WarmProcess) -> None:
        self.warm_process = warm_process
        self.ended = 0.0
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()
        self._pipes: list[_Pipe] = []
        self._killed_for_memory = oom_kills()

    async def watch(self, log: Log) -> None:
        """Start to read the output and to wait for the end."""
        process = self.warm_process.process
        self._pipes = [_Pipe(log, api_pb2.FILE_DESCRIPTOR_STDOUT), _Pipe(log, api_pb2.FILE_DESCRIPTOR_STDERR)]
        for pipe, stream in zip(self._pipes, (process.stdout, process.stderr), strict=True):
            await self._loop.connect_read_pipe(pipe.factory, stream)
        threading.Thread(target=self._wait, daemon=True, name=f"wait-{process.pid}").start()

    def _wait(self) -> None:
        """Wait for the end. In a thread, since asyncio's child watchers differ between systems and Python versions."""
        code = self.warm_process.process.wait()
        self.ended = time.monotonic()
        end_family(str(self.warm_process.container_root.path), self.warm_process.process.pid)
        with suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self._note_end, code)

    def _note_end(self, code: int) -> None:
        os.close(self.warm_process.guard)
        self._code.set_result(code)

    async def gone(self) -> int:
        """Wait until the process has ended and its output is read; return the exit code, negative for a signal."""
        code = await asyncio.shield(self._code)
        await asyncio.wait([pipe.closed for pipe in self._pipes], timeout=DRAIN_SECONDS)
        return code

    def interrupt(self) -> None:
        """Send SIGINT to the process group: KeyboardInterrupt in user code, then `@exit` hooks."""
        with suppress(ProcessLookupError):
            os.killpg(self.warm_process.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill the process and all its descendants."""
        if self.warm_process.process.returncode is None:
            end_family(str(self.warm_process.container_root.path), self.warm_process.process.pid)

    def describe_end(self, code: int, *, was_ready: bool) -> str:
        """Describe the end in Modal's words: `Runner failed with exit code: -9 (SIGKILL)`."""
        return describe_end(code, out_of_memory=oom_kills() > self._killed_for_memory, was_ready=was_ready)


class _Pipe(asyncio.Protocol):
    """Decodes one output stream into the log, joining characters that reads have split."""

    def __init__(self, log: Log, descriptor: api_pb2.FileDescriptor.ValueType) -> None:
        self._log, self._descriptor = log, descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def factory(self) -> _Pipe:
        """Return this protocol, as asyncio expects a factory."""
        return self

    def data_received(self, data: bytes) -> None:
        """Log the complete characters received."""
        if text := self._decoder.decode(data):
            self._log(text, self._descriptor)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note the end of the stream."""
        self.closed.set_result(None)


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
