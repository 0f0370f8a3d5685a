"""Run nvidia-smi for the container's lifetime and read its output in a thread; each period gives one `Reading`.

Nothing waits for readings: a hanging nvidia-smi delays nothing, and without nvidia-smi no readings arrive. The program
is not a child of this process, since a cell may wait for all of *its* children. nvidia-smi ends when its output pipe is
closed, at the latest with the container.
"""

from __future__ import annotations

import codecs
import os
import subprocess
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.metrics.sample import OLD_QUERY, QUERY, SHORT_QUERY, Reading, SampleReader

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

PERIOD_SECONDS: Final = 1.0
"""Seconds between two readings: nvidia-smi averages its utilization over 1/6 to 1 s, depending on the GPU."""
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

    def begin(self, gpus: int | None = None) -> None:
        """Start nvidia-smi if installed and not running; call again to restart a process that a cell killed.

        Args:
            gpus: number of GPUs, if known: the first reading then need not wait for the second one.
        """
        if self._is_unsupported or self._closed or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = daemon("modal-gpu-sampler", lambda: self._watch(gpus))

    def close(self) -> None:
        """Stop reading: nvidia-smi ends at its next write."""
        self._closed = True

    def starts(self, at: float) -> None:
        """Record when user code begins, in Unix seconds."""
        self._span = (at, inf)

    def ends(self, at: float) -> None:
        """Record when user code ended, in Unix seconds."""
        self._span = (self._span[0], at)

    def _watch(self, gpus: int | None) -> None:
        for query in (QUERY, OLD_QUERY, SHORT_QUERY):  # a single unknown field makes a query fail
            if self._follow(query, gpus) or self._closed:
                return
        self._is_unsupported = True

    def _follow(self, query: tuple[str, ...], gpus: int | None) -> bool:
        """Read until nvidia-smi ends; return whether it gave a reading."""
        reader, found = SampleReader(query, gpus), False
        for text in _output(query, self._period):
            found = self._take(reader.feed(text)) or found
            if self._closed:
                break
        return self._take(reader.finish(killed=True)) or found

    def _take(self, readings: list[Reading]) -> bool:
        """Report readings. Several at once were delayed (native code held the GIL), so compute the time of each."""
        now = time.time()
        start, end = self._span
        for left, reading in zip(reversed(range(len(readings))), readings, strict=True):
            timed = reading.at(now - left * self._period)
            self.readings.append(timed)
            self._tell(timed, start <= timed.time <= end)
        return bool(readings)


def command(query: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """Return the nvidia-smi command for a query."""
    return ("nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits", *more)


def _output(query: tuple[str, ...], period: float) -> Iterator[str]:
    """Yield nvidia-smi's output until it ends; nothing if it cannot be started."""
    arguments = command(query, "-lms", str(round(period * 1000)))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        try:
            subprocess.run([*_IN_BACKGROUND, *arguments], stdin=subprocess.DEVNULL, stdout=writer, check=False)
        except OSError:
            return
        finally:
            os.close(writer)
        while data := pipe.read(READ_BYTES):
            yield decoder.decode(data)
