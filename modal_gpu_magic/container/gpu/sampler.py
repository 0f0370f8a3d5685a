"""Run nvidia-smi for the container's lifetime and read its output in a thread; each period gives one `Reading`.

A second nvidia-smi lists the processes that use the GPUs, since one nvidia-smi answers one query. The container's own
CPU, memory, disk and network are read at each reading.

Nothing waits for readings: a hanging nvidia-smi delays nothing, and without nvidia-smi no readings arrive. The program
is not a child of this process, since a cell may wait for all of *its* children. nvidia-smi ends when its output pipe is
closed, at the latest with the container.
"""

from __future__ import annotations

import codecs
import os
import subprocess
import threading
import time
from collections import deque
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.container.gpu.host_reader import HostReader
from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.metrics.processes import PROCESS_QUERY, ProcessTable
from modal_gpu_magic.metrics.sample import OLD_QUERY, QUERY, SHORT_QUERY, Reading, SampleReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERIOD_SECONDS: Final = 1.0
"""Seconds between two readings: nvidia-smi averages its utilization over 1/6 to 1 s, depending on the GPU."""
PROCESSES_SECONDS: Final = 2.0
"""Seconds between two lists of the processes that use the GPUs."""
KEPT_READINGS: Final = 600
"""Most readings kept in the container."""
READ_BYTES: Final = 64 << 10
"""Most bytes of one read."""
_IN_BACKGROUND: Final = ("sh", "-c", '"$@" 2>/dev/null &', "sh")


class Sampler:
    """Collects the readings of this container's GPUs.

    Args:
        tell: receives each reading, and whether user code ran at its time; called in the sampler's thread.
        period: seconds between two readings.
    """

    def __init__(self, tell: Callable[[Reading, bool], object], period: float = PERIOD_SECONDS) -> None:
        self.readings: deque[Reading] = deque(maxlen=KEPT_READINGS)
        self._tell, self._period = tell, period
        self._span = (inf, inf)
        self._thread: threading.Thread | None = None
        self._is_unsupported = self._closed = False
        self._is_closed = threading.Event()
        self._host: HostReader | None = None
        self._processes = ProcessTable(PROCESSES_SECONDS)
        self._processes_thread: threading.Thread | None = None
        self._lists_processes = True
        """Whether nvidia-smi has not yet refused to list processes."""

    def begin(self, gpus: int | None = None) -> None:
        """Start nvidia-smi if installed and not running; call again to restart a process that a cell killed.

        Args:
            gpus: number of GPUs, if known: the first reading then need not wait for the second one.
        """
        if self._is_unsupported or self._closed or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = daemon("modal-gpu-sampler", lambda: self._watch(gpus))

    def begin_without_gpus(self) -> None:
        """Start to read the container's own figures alone."""
        if not self._closed and (self._thread is None or not self._thread.is_alive()):
            self._thread = daemon("modal-gpu-sampler", self._watch_host)

    def close(self) -> None:
        """Stop reading: nvidia-smi ends at its next write."""
        self._closed = True
        self._is_closed.set()

    def starts(self, at: float) -> None:
        """Record when user code begins, in Unix seconds."""
        self._span = (at, inf)

    def ends(self, at: float) -> None:
        """Record when user code ended, in Unix seconds."""
        self._span = (self._span[0], at)

    def _watch(self, gpus: int | None) -> None:
        self._host = self._host or HostReader()
        self._begin_processes()
        for query in (QUERY, OLD_QUERY, SHORT_QUERY):  # a single unknown field makes a query fail
            if self._follow(query, gpus) or self._closed:
                return
        self._is_unsupported = True

    def _follow(self, query: tuple[str, ...], gpus: int | None) -> bool:
        """Read until nvidia-smi ends; return whether it gave a reading."""
        reader, found = SampleReader(query, gpus), False
        for text in _output(command(query), self._period):
            found = self._take(reader.feed(text)) or found
            if self._closed:
                break
        return self._take(reader.finish(killed=True)) or found

    def _take(self, readings: list[Reading]) -> bool:
        """Report readings. Several at once were delayed (native code held the GIL), so compute the time of each."""
        if not readings:
            return False
        now = time.time()
        for left, reading in zip(reversed(range(len(readings))), self._with_host(readings), strict=True):
            self._report(reading.at(now - left * self._period))
        return True

    def _report(self, reading: Reading) -> None:
        start, end = self._span
        self.readings.append(reading)
        self._tell(reading, start <= reading.time <= end)

    def _watch_host(self) -> None:
        reader = HostReader()
        while not self._is_closed.wait(self._period):
            host = reader.read()
            if host is None:  # a system without /proc
                return
            self._report(Reading((), host, moment=time.time()))

    def _with_host(self, readings: list[Reading]) -> list[Reading]:
        """Add to the last reading what is known beside the GPUs: the container's own use, and the GPUs' processes."""
        *earlier, last = readings
        host = self._host.read() if self._host else None
        return [*earlier, replace(last, host=host, processes=self._processes.at(time.monotonic()))]

    def _begin_processes(self) -> None:
        """Start the nvidia-smi that lists processes, if it is not running and has not refused.

        It is started before the one that gives readings, so that no shell is a child of this process any more when the
        first reading arrives: a cell may wait for its children.
        """
        thread = self._processes_thread
        if self._lists_processes and (thread is None or not thread.is_alive()):
            pipe = _start(PROCESSES_COMMAND, PROCESSES_SECONDS)
            if pipe is not None:
                self._processes_thread = daemon("modal-gpu-processes", lambda: self._watch_processes(pipe))

    def _watch_processes(self, pipe: int) -> None:
        began = time.monotonic()
        for text in _texts(pipe):
            self._processes.feed(text, time.monotonic())
            if self._closed:
                return
        # An old or a simulated nvidia-smi ends at once; one that a cell has killed is started again.
        self._lists_processes = time.monotonic() - began > PROCESSES_SECONDS


def command(query: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """Return the nvidia-smi command for a query."""
    return ("nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits", *more)


PROCESSES_COMMAND: Final = (
    *("nvidia-smi", f"--query-compute-apps={','.join(PROCESS_QUERY)}", "--format=csv,noheader,nounits"),
)


def _output(program: tuple[str, ...], period: float) -> Iterator[str]:
    """Yield the output of nvidia-smi until it ends; nothing if it cannot be started."""
    pipe = _start(program, period)
    return iter(()) if pipe is None else _texts(pipe)


def _start(program: tuple[str, ...], period: float) -> int | None:
    """Start nvidia-smi, which repeats its answer; return the pipe that it writes to. None: it cannot be started."""
    arguments = (*program, "-lms", str(round(period * 1000)))
    reader, writer = os.pipe()
    try:
        subprocess.run([*_IN_BACKGROUND, *arguments], stdin=subprocess.DEVNULL, stdout=writer, check=False)
    except OSError:
        os.close(reader)
        return None
    finally:
        os.close(writer)
    return reader


def _texts(pipe: int) -> Iterator[str]:
    """Yield what arrives in a pipe until its other end is closed, then close it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with os.fdopen(pipe, "rb", buffering=0) as stream:
        while data := stream.read(READ_BYTES):
            yield decoder.decode(data)
