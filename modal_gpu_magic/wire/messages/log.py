"""The numbered log of a run: the container records events and cuts them into frames, the kernel reassembles them.

Pure: no clock, no thread, no queue. The container has the `Log` and calls `cut`; the kernel feeds an `Assembler`.
Because events are numbered, a loss is visible and a duplicate is harmless, whatever channel a frame came by.
"""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.events import FRAME_BYTES, Event, EventKind, Frame
from modal_gpu_magic.wire.messages.seal import opened, sealed
from modal_gpu_magic.wire.messages.shapes import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modal_gpu_magic.wire.messages.segments import Segment

LOG_BYTES = 256 << 20
"""Bytes that a run's log may take in the container's memory; above this limit old events are dropped."""
SAMPLES = 120
"""Samples kept for a reader that missed some: a run of a day has 86,400, and a reader does not need old ones."""
OVERHEAD = 200
"""Bytes counted for the Python objects of an event, in addition to its text."""


DISPLAYS = frozenset({"display_data", "update_display_data", "execute_result"})
KILOBYTE = 1000
_NOTHING = {"name": "stdout", "text": ""}


class Packed(NamedTuple):
    """A pickled `Frame` for the queue.

    Attributes:
        blob: the pickle.
        reaches: number of the first event after the frame.
    """

    blob: bytes
    reaches: int


def weigh(value: object) -> int:
    """Estimate the bytes of an event's content: exact for long texts and buffers, which dominate the size."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(weigh(item) for item in value.values()) + OVERHEAD
    if isinstance(value, list | tuple):
        return sum(weigh(item) for item in value) + OVERHEAD
    return OVERHEAD


class Log:
    """The events of one run, numbered from 0 without gaps; at most `limit` bytes are kept.

    Attributes:
        posted: events below this number were posted. They are kept for a reader that missed some, while there is room.
    """

    def __init__(self, limit: int = LOG_BYTES) -> None:
        self.limit = limit
        self.next_number = self.posted = 0
        self.nbytes = 0
        self._kept: dict[int, Event] = {}
        self._texts: deque[int] = deque()
        self._samples: deque[int] = deque()
        self._lost: dict[int, tuple[EventKind, int]] = {}
        """Kind and bytes of the dropped events, by number."""

    def add(self, kind: EventKind, content: dict[str, Any]) -> None:
        """Append an event. Above the limit, posted events are dropped first, then stream text; the oldest first."""
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
            self._give_up(self._least_needed())

    def since(self, number: int) -> tuple[Event, ...]:
        """Return every event from `number` on. Dropped events are replaced by one note, then by empty text."""
        events: list[Event] = []
        for lost, group in groupby(range(number, self.next_number), self._lost.__contains__):
            numbers = list(group)
            events += self._fill(numbers) if lost else [self._kept[n] for n in numbers if n in self._kept]
        return tuple(events)

    def forget(self, number: int) -> None:
        """Free the events below `number`, which the reader has received."""
        for received in [n for n in self._kept if n < number]:
            self.nbytes -= weigh(self._kept.pop(received).content)
        self._texts = deque(n for n in self._texts if n >= number)
        self._samples = deque(n for n in self._samples if n >= number)
        self._lost = {n: size for n, size in self._lost.items() if n >= number}

    def _empty(self, number: int) -> None:
        """Replace a dropped sample by empty text, because numbers must have no gaps."""
        if number in self._kept:
            self.nbytes += weigh(_NOTHING) - weigh(self._kept[number].content)
            self._kept[number] = Event(number, "stream", _NOTHING)

    def _least_needed(self) -> int:
        oldest = next(iter(self._kept))
        if oldest < self.posted:
            return oldest
        while self._texts and self._texts[0] not in self._kept:
            self._texts.popleft()
        return self._texts.popleft() if len(self._texts) > 1 else oldest

    def _give_up(self, number: int) -> None:
        event = self._kept.pop(number)
        nbytes = weigh(event.content)
        self._lost[number] = event.kind, nbytes
        self.nbytes -= nbytes

    def _fill(self, numbers: Sequence[int]) -> Iterator[Event]:
        lost = [self._lost[number] for number in numbers]
        nbytes = sum(size for _, size in lost)
        amount = f"{nbytes / 1e6:,.1f} MB" if nbytes >= KILOBYTE * KILOBYTE / 10 else f"{nbytes / KILOBYTE:,.1f} kB"
        text = f"{amount} of output were dropped ({_kinds(lost)}): the kernel did not read them in time."
        yield Event(numbers[0], "note", {"text": text})
        for number in numbers[1:]:
            yield Event(number, "stream", _NOTHING)


def _kinds(lost: Sequence[tuple[EventKind, int]]) -> str:
    """Describe dropped events: `printed text, 3 displays`."""
    displays = sum(kind in DISPLAYS for kind, _ in lost)
    others = sum(kind not in DISPLAYS and kind != "stream" for kind, _ in lost)
    words = ["printed text"] if len(lost) > displays + others else []
    words += [f"{displays} display{'s' * (displays > 1)}"] if displays else []
    words += [f"{others} other message{'s' * (others > 1)}"] if others else []
    return ", ".join(words)


def cut(run: str, events: Iterable[Event], limit: int = FRAME_BYTES) -> Iterator[Packed]:
    """Pickle events into frames of at most `limit` bytes; an event too large for one frame is cut into parts."""
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
    """Halve a batch that is larger than estimated until each half fits or has one event."""
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
    """Joins the frames of one run into events in number order; frames may arrive repeatedly and in any order."""

    def __init__(self) -> None:
        self.next_number = 0
        self._ahead: dict[int, Event] = {}
        self._parts: dict[int, dict[int, bytes]] = {}

    @property
    def missing(self) -> range:
        """Numbers of the missing events that delay events which have arrived; empty: no event is delayed."""
        return range(self.next_number, min(self._ahead, default=self.next_number))

    def feed(self, frame: Frame) -> list[Event]:
        """Add a frame and return the events that are next in number order.

        Raises:
            DamagedError: the frame is not one that `cut` makes.
        """
        checked(frame, Frame)
        for event in frame.events if frame.part is None else self._join(frame, *frame.part):
            if event.number >= self.next_number:
                self._ahead[event.number] = event
        return self._ready()

    def take(self, segment: Segment) -> list[Event]:
        """Add a segment of the run's log, and return the events that are next in number order.

        The segment begins at the next event or before, as `segments.to_read` chooses. Numbers that it lacks were
        dropped.

        Raises:
            DamagedError: a frame of the segment is damaged.
        """
        ready = [event for frame in segment.opened() for event in self.feed(frame)]
        while self.next_number < segment.end:
            after = min((number for number in self._ahead if number < segment.end), default=segment.end)
            self.next_number = after
            ready += self._ready()
        return ready

    def _ready(self) -> list[Event]:
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
        event = checked(opened(b"".join(parts[i] for i in range(count))), Event)
        if event.number != frame.number:
            raise DamagedError(f"event {frame.number} came in parts of event {event.number}; run the cell again.")
        return (event,)
