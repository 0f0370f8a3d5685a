"""nvidia-smi, started once and read by a thread for as long as the container lives; each tick is one `Reading`.

What it says is told, never waited for: a wedged nvidia-smi holds nothing up, and where there is none nothing comes.
The program is not a child of ours (a cell may wait for all of *its* children): it ends when it finds that nobody holds
the other end of its pipe, and with the container in any case.
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

PERIOD: Final = 1.0
"""Seconds between two readings: nvidia-smi's own utilization is a mean over 1/6 to 1 s, by the card."""
KEPT: Final = 600
"""Readings kept in the container."""
PIECE: Final = 64 << 10
_IN_BACKGROUND: Final = ("sh", "-c", '"$@" 2>/dev/null &', "sh")


class Sampler:
    """The readings of this container's GPUs.

    Args:
        tell: gets each reading, and whether user code ran at its time; called in the sampler's thread.
        period: seconds between two readings.
    """

    def __init__(self, tell: Callable[[Reading, bool], object], period: float = PERIOD) -> None:
        self.readings: deque[Reading] = deque(maxlen=KEPT)
        self._tell, self._period = tell, period
        self._span = (inf, inf)
        self._thread: threading.Thread | None = None
        self._mute = self._closed = False

    def begin(self, gpus: int | None = None) -> None:
        """See to it that readings come. At once, and again after a cell has killed nvidia-smi; not where there is none.

        Args:
            gpus: how many there are, if that is known: the first reading need not wait for the second then.
        """
        if self._mute or self._closed or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = daemon("modal-gpu-sampler", lambda: self._watch(gpus))

    def close(self) -> None:
        """Nobody reads any more: nvidia-smi ends at its next word."""
        self._closed = True

    def starts(self, at: float) -> None:
        """User code runs from this time on."""
        self._span = (at, inf)

    def ends(self, at: float) -> None:
        """User code ran until then."""
        self._span = (self._span[0], at)

    def _watch(self, gpus: int | None) -> None:
        for query in (QUERY, OLD_QUERY, SHORT_QUERY):  # one unknown field fails a whole query
            if self._follow(query, gpus) or self._closed:
                return
        self._mute = True

    def _follow(self, query: tuple[str, ...], gpus: int | None) -> bool:
        """Ask until nvidia-smi ends; returns whether it ever gave a reading."""
        reader, heard = SampleReader(query, gpus), False
        for text in _output(query, self._period):
            heard = self._take(reader.feed(text)) or heard
            if self._closed:
                break
        return self._take(reader.finish(killed=True)) or heard

    def _take(self, readings: list[Reading]) -> bool:
        """Tell readings. Several at once had to wait for us (native code held the interpreter): they have own times."""
        now = time.time()
        start, end = self._span
        for left, reading in zip(reversed(range(len(readings))), readings, strict=True):
            timed = reading.at(now - left * self._period)
            self.readings.append(timed)
            self._tell(timed, start <= timed.time <= end)
        return bool(readings)


def command(query: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """nvidia-smi's arguments for a query."""
    return ("nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits", *more)


def _output(query: tuple[str, ...], period: float) -> Iterator[str]:
    """What nvidia-smi prints, in pieces, until it ends; nothing where it cannot be started."""
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
        while data := pipe.read(PIECE):
            yield decoder.decode(data)
