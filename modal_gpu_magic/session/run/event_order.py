"""The events of one run in number order, in whatever order frames and segments of the log arrive. Pure: no I/O.

Each container numbers its own events from zero. A run has events of several containers on a cluster, where each node is
a container, and after Modal has replaced a container: the cell then begins again, and only the last container counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.messages.events import Frame
from modal_gpu_magic.wire.messages.log import Assembler

if TYPE_CHECKING:
    from modal_gpu_magic.wire.messages.events import Answer, Event
    from modal_gpu_magic.wire.messages.segments import Segment


@dataclass(frozen=True, slots=True)
class Origin:
    """The container that numbered some events.

    Attributes:
        life: the container's generation.
        node: the container's number in a cluster; None: the run's first node.
    """

    life: str
    node: str | None = None

    @classmethod
    def of(cls, frame: Frame) -> Origin:
        """Return the origin of a frame, whose run is `RUN/LIFE`, or `RUN/NODE/LIFE` at another node of a cluster."""
        _, *node, life = frame.run.split("/")
        return cls(life, node[0] if node else None)


class EventOrder:
    """Takes in frames and segments of one run, and returns each event once, in the number order of its container.

    Args:
        attaches: another kernel has sent the run, and may have taken frames from the queue.

    Attributes:
        container: the life whose events count at the first node; empty: no event has arrived from that node.
    """

    def __init__(self, *, attaches: bool) -> None:
        self.container = ""
        self._attaches = attaches
        self._frames = 0
        """Frames of all nodes since the last container of the first node began."""
        self._first_node = Assembler()
        self._other_nodes: dict[Origin, Assembler] = {}
        self._replaced: set[str] = set()
        """Lives of containers that Modal has replaced: what still arrives from them is out of date."""

    @property
    def next_number(self) -> int:
        """The number of the first node's next event."""
        return self._first_node.next_number

    @property
    def is_behind(self) -> bool:
        """Whether events of the first node have arrived that wait for a missing event."""
        return bool(self._first_node.missing)

    def follow(self, origin: Origin) -> bool:
        """Let a container's events count from now on, unless Modal has replaced that container.

        Call this method before `feed` and `take`.

        Returns:
            Whether the container replaces another one of the first node: its numbers start at zero again.
        """
        if origin.node is not None or origin.life in self._replaced or origin.life == self.container:
            return False
        before, self.container = self.container, origin.life
        if not before:
            return False
        self._replaced.add(before)
        self._first_node, self._frames = Assembler(), 0
        return True

    def feed(self, origin: Origin, frame: Frame) -> list[Event] | None:
        """Take in a frame, and return the events that are next.

        Returns:
            None: the frame does not count, because Modal has replaced its container.

        Raises:
            DamagedError: the frame is not one that a container makes.
        """
        if not self._counts(origin):
            return None
        self._frames += 1
        return self._assembler(origin).feed(frame)

    def take(self, origin: Origin, segment: Segment) -> list[Event] | None:
        """Take in a segment of the run's log, and return the events that are next; none that arrived before.

        Returns:
            None: the segment does not count, or begins behind a missing event, so that the reader must bring it again.

        Raises:
            DamagedError: a frame of the segment is damaged.
        """
        if not self._counts(origin):
            return None
        assembler = self._assembler(origin)
        return assembler.take(segment) if segment.first <= assembler.next_number else None

    def add(self, events: tuple[Event, ...]) -> list[Event]:
        """Take in events of the first node that came in no frame, and return the events that are next.

        Raises:
            DamagedError: the events are none.
        """
        return self._first_node.feed(Frame("", events))

    def has_all_posted(self, answer: Answer) -> bool:
        """Whether all events have arrived that do not come inside the answer, in its tail."""
        posted = answer.tail[0].number if answer.tail else answer.events
        # The answer counts the events of the first node only, and the frames of all nodes. A kernel that attaches has
        # not had all frames, but has the whole logs of the other nodes before it has that of the first node.
        if self.next_number >= posted and (self._attaches or not self._other_nodes):
            return True
        return not self._attaches and self._frames >= answer.frames

    def _counts(self, origin: Origin) -> bool:
        return origin.node is not None or origin.life == self.container

    def _assembler(self, origin: Origin) -> Assembler:
        if origin.node is None:
            return self._first_node
        return self._other_nodes.setdefault(origin, Assembler())
