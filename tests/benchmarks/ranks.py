"""Figures of ranks: what 32 of them put out at once, from their sockets through parent, queue and pump to a front."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from modal_gpu_magic import Session
from modal_gpu_magic.session.run.front import SilentFront
from modal_gpu_magic.wire.messages.events import DistributedOptions
from tests.benchmarks.table import Row

if TYPE_CHECKING:
    from modal_gpu_magic.wire.messages.events import Event

EVENTS = 64_000
"""In all, however many ranks share them."""

_SOURCE = """
import os, pathlib, time
here = pathlib.Path(place)
(here / os.environ["RANK"]).touch()
while len(os.listdir(here)) < world: time.sleep(0.05)
for number in range(each): display({"text/plain": f"step {number}"}, raw=True)
"""


class Counting(SilentFront):
    """Notes when the first event came, and the last."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def event(self, event: Event) -> None:
        """Count it."""
        if event.kind in {"rank", "display_data"}:
            self.times.append(time.perf_counter())

    @property
    def rate(self) -> float:
        """Events a second."""
        return len(self.times) / (self.times[-1] - self.times[0])


def events_at_once() -> Iterator[Row]:
    """Events a second of 32 ranks together, beside those of one that puts out as many."""
    session = Session(backend="local")
    rates = {}
    for world in (1, 32):
        with tempfile.TemporaryDirectory() as place:
            session.namespace.update(place=os.path.realpath(place), world=world, each=EVENTS // world)
            front = Counting()
            session.run(_SOURCE, front, distributed=DistributedOptions(torchrun=True, processes=world, shown=None))
        if len(front.times) != EVENTS:
            raise AssertionError(f"{EVENTS - len(front.times)} events of {world} ranks were lost")
        rates[world] = front.rate
    session.stop()
    yield Row(
        "64,000 events of 32 ranks at once",
        f"{rates[32]:,.0f}/s",
        f"of one rank {rates[1]:,.0f}/s",
        rates[1] / rates[32],
        "x",
        2.0,
        1.0,
    )


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (events_at_once,)
