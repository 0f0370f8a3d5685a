"""The numbered log of a run: kept where the events arise, cut into frames for the queue, joined again by the reader.

Pure: no clock, no thread, no queue. The container holds the `Log` and `cut`s it, the kernel feeds an `Assembler`.
Numbers make every loss visible and every duplicate harmless, so neither side needs to know how a frame travelled.
"""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.events import FRAME_BYTES, Event, EventKind, Frame
from modal_gpu_magic.wire.messages.seal import opened, sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LOG_BYTES = 256 << 20
"""Bytes a run's log may hold in the container's memory; beyond it the oldest stream text goes."""
SAMPLES = 120
"""Samples a log keeps for a reader that missed some: a run of a day has 86,400, and the old ones are no use to it."""
OVERHEAD = 200
"""Bytes counted for an event beside its text: the Python objects around it."""


_NOTHING = {"name": "stdout", "text": ""}


class Packed(NamedTuple):
    """A pickled `Frame`, and the number up to which the log has been sent once it is in the queue."""

    blob: bytes
    reaches: int


def weigh(value: object) -> int:
    """Roughly the bytes of a content: exact for long texts and buffers, which are all that matters."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(weigh(item) for item in value.values()) + OVERHEAD
    if isinstance(value, list | tuple):
        return sum(weigh(item) for item in value) + OVERHEAD
    return OVERHEAD


class Log:
    """One run's events, numbered from 0 without gaps, kept up to `limit` bytes."""

    def __init__(self, limit: int = LOG_BYTES) -> None:
        self.limit = limit
        self.next_number = 0
        self.nbytes = 0
        self._kept: dict[int, Event] = {}
        self._texts: deque[int] = deque()
        self._samples: deque[int] = deque()
        self._lost: dict[int, int] = {}

    def add(self, kind: EventKind, content: dict[str, Any]) -> None:
        """Append an event. If the log is over its limit then, the oldest stream text is given up first."""
        self._kept[self.next_number] = Event(self.next_number, kind, content)
        if kind == "stream":
            self._texts.append(self.next_number)
        if kind == "sample":
            self._samples.append(self.next_number)
        self.nbytes += weigh(content)
        self.next_number += 1
        while len(self._samples) > SAMPLES:
            self._empty(self._samples.popleft())
        while self.nbytes > self.limit and len(self._kept) > 1:
            self._give_up(self._texts.popleft() if len(self._texts) > 1 else next(iter(self._kept)))

    def since(self, number: int) -> tuple[Event, ...]:
        """Every event from `number` on. In the place of those given up: a note that says so, then empty text."""
        events: list[Event] = []
        for lost, group in groupby(range(number, self.next_number), self._lost.__contains__):
            numbers = list(group)
            events += self._fill(numbers) if lost else [self._kept[n] for n in numbers if n in self._kept]
        return tuple(events)

    def forget(self, number: int) -> None:
        """Nobody will ask for events below `number` again: free them."""
        for gone in [n for n in self._kept if n < number]:
            self.nbytes -= weigh(self._kept.pop(gone).content)
        self._texts = deque(n for n in self._texts if n >= number)
        self._samples = deque(n for n in self._samples if n >= number)
        self._lost = {n: size for n, size in self._lost.items() if n >= number}

    def _empty(self, number: int) -> None:
        """Numbers have no gaps: in the place of a sample that is no longer kept there is no text."""
        if number in self._kept:
            self.nbytes += weigh(_NOTHING) - weigh(self._kept[number].content)
            self._kept[number] = Event(number, "stream", _NOTHING)

    def _give_up(self, number: int) -> None:
        self._lost[number] = weigh(self._kept.pop(number).content)
        self.nbytes -= self._lost[number]

    def _fill(self, numbers: Sequence[int]) -> Iterator[Event]:
        megabytes = sum(self._lost[n] for n in numbers) / 1e6
        yield Event(
            numbers[0], "note", {"text": f"{megabytes:,.1f} MB of output were dropped here: nobody read them in time."}
        )
        for number in numbers[1:]:
            yield Event(number, "stream", _NOTHING)


def cut(run: str, events: Iterable[Event], limit: int = FRAME_BYTES) -> Iterator[Packed]:
    """Pickled frames of at most `limit` bytes that hold `events`; an event too large for one is cut into parts."""
    batch: list[Event] = []
    size = 0
    for event in events:
        weight = weigh(event.content) + OVERHEAD
        if batch and size + weight > limit:
            yield from _frames(run, batch, limit)
            batch, size = [], 0
        batch.append(event)
        size += weight
    if batch:
        yield from _frames(run, batch, limit)


def _frames(run: str, events: Sequence[Event], limit: int) -> Iterator[Packed]:
    """The weights were estimates: what turns out too large is halved until it fits, or until one event is left."""
    blob = sealed(Frame(run, tuple(events)))
    if len(blob) <= limit:
        yield Packed(blob, events[-1].number + 1)
    elif len(events) > 1:
        middle = len(events) // 2
        yield from _frames(run, events[:middle], limit)
        yield from _frames(run, events[middle:], limit)
    else:
        yield from _parts(run, events[0], limit)


def _parts(run: str, event: Event, limit: int) -> Iterator[Packed]:
    whole = sealed(event)
    size = limit - len(sealed(Frame(run, (), b"", (2**32, 2**32), 2**62))) - 16
    count = -(-len(whole) // size)
    for index in range(count):
        part = Frame(run, (), whole[index * size : (index + 1) * size], (index, count), event.number)
        yield Packed(sealed(part), event.number + (index == count - 1))


class Assembler:
    """Joins one run's frames, in whatever order and however often they come, into its events in number order."""

    def __init__(self) -> None:
        self.next_number = 0
        self._ahead: dict[int, Event] = {}
        self._parts: dict[int, dict[int, bytes]] = {}

    @property
    def missing(self) -> range:
        """Numbers that hold back events which have come already; empty when nothing waits."""
        return range(self.next_number, min(self._ahead, default=self.next_number))

    def feed(self, frame: Frame) -> list[Event]:
        """Take in a frame; returns the events whose turn has come.

        Raises:
            DamagedError: the frame is none that `cut` makes.
        """
        for event in frame.events if frame.part is None else self._join(frame, *frame.part):
            if event.number >= self.next_number:
                self._ahead[event.number] = event
        ready: list[Event] = []
        while self.next_number in self._ahead:
            ready.append(self._ahead.pop(self.next_number))
            self._parts.pop(self.next_number, None)
            self.next_number += 1
        return ready

    def _join(self, frame: Frame, index: int, count: int) -> tuple[Event, ...]:
        if not 0 <= index < count:
            raise DamagedError(f"event {frame.number} came as part {index} of {count}; run the cell again.")
        if frame.number < self.next_number or frame.number in self._ahead:
            return ()
        parts = self._parts.setdefault(frame.number, {})
        parts[index] = frame.blob
        if len(parts) < count:
            return ()
        if parts.keys() != set(range(count)):
            raise DamagedError(f"event {frame.number} came in parts of different counts; run the cell again.")
        return (opened(b"".join(parts[i] for i in range(count))),)
