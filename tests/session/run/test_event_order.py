"""The order of a run's events: every container's events once and in order, and only those of a life that counts."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.session.run.event_order import EventOrder, Origin
from modal_gpu_magic.wire.messages.events import Answer, Event, Frame
from modal_gpu_magic.wire.messages.log import cut
from modal_gpu_magic.wire.messages.segments import Segment

FIRST, SECOND = Origin("a"), Origin("b")
"""The first node's container, and the one that has replaced it."""
OTHER_NODES = (Origin("a", "1"), Origin("b", "1"))
"""Two lives at another node: a life says nothing without its node."""
CONTAINERS = (FIRST, SECOND, *OTHER_NODES)
Item = Frame | Segment
FRAME_LIMIT = 600
"""Bytes of a frame, so that a long text is cut into parts."""


def run_of(origin: Origin) -> str:
    return "/".join(["r", *filter(None, [origin.node]), origin.life])


def events_of(*texts: str) -> list[Event]:
    return [Event(number, "stream", {"name": "stdout", "text": text}) for number, text in enumerate(texts)]


def frames_of(origin: Origin, events: list[Event]) -> list[Item]:
    return [pickle.loads(packed.blob) for packed in cut(run_of(origin), events, FRAME_LIMIT)]


def segment_of(origin: Origin, events: list[Event]) -> Segment:
    frames = tuple(packed.blob for packed in cut(run_of(origin), events, FRAME_LIMIT))
    return Segment(events[0].number, events[-1].number + 1, frames)


def frame(origin: Origin, *numbers: int) -> Frame:
    return Frame(run_of(origin), tuple(Event(number, "note", {"text": ""}) for number in numbers))


def deliver(order: EventOrder, origin: Origin, item: Item) -> list[Event] | None:
    """Bring a frame or a segment, as the pump does."""
    order.follow(origin)
    return order.feed(origin, item) if isinstance(item, Frame) else order.take(origin, item)


def numbers(events: list[Event] | None) -> list[int] | None:
    return None if events is None else [event.number for event in events]


@st.composite
def runs(draw: st.DrawFn) -> tuple[dict[Origin, list[Event]], list[tuple[Origin, Item]]]:
    """The events of each container, and frames and segments of them: some lost, some repeated, in any order."""
    events: dict[Origin, list[Event]] = {}
    items: list[tuple[Origin, Item]] = []
    for origin in CONTAINERS:
        sizes = draw(st.lists(st.sampled_from([1, 40, 900]), max_size=5))
        mine = events[origin] = events_of(*(f"{run_of(origin)}:" + "x" * size for size in sizes))
        items += [(origin, each) for each in frames_of(origin, mine)]
        for _ in range(draw(st.integers(0, 3)) if mine else 0):
            first = draw(st.integers(0, len(mine) - 1))
            end = draw(st.integers(first + 1, len(mine)))
            items.append((origin, segment_of(origin, mine[first:end])))
    arrivals = draw(st.lists(st.sampled_from(items), max_size=2 * len(items))) if items else []
    return events, arrivals


@given(runs())
def test_each_event_of_the_last_life_comes_once_and_in_order(run: Any) -> None:
    """The last life is the one whose first event came last: the queue keeps the order in which containers begin."""
    events, arrivals = run
    order = EventOrder(attaches=False)
    shown: dict[Origin, list[Event]] = {origin: [] for origin in CONTAINERS}
    lives: list[Origin] = []
    for origin, item in arrivals:
        is_new = origin.node is None and origin not in lives
        assert order.follow(origin) == (is_new and bool(lives))
        lives += [origin] * is_new
        came = order.feed(origin, item) if isinstance(item, Frame) else order.take(origin, item)
        counts = origin.node is not None or origin == lives[-1]
        reaches = isinstance(item, Frame) or item.first <= len(shown[origin])
        assert (came is not None) == (counts and reaches)
        shown[origin] += came or []
        assert shown[origin] == events[origin][: len(shown[origin])]
        if lives:
            assert order.container == lives[-1].life
            assert order.next_number == len(shown[lives[-1]])
    for origin in (lives[-1] if lives else FIRST, *OTHER_NODES):
        if events[origin]:  # the log has all of them
            shown[origin] += deliver(order, origin, segment_of(origin, events[origin])) or []
        assert shown[origin] == events[origin]
    assert not order.is_behind


@pytest.mark.parametrize(
    "run, expected",
    [("r/a", Origin("a")), ("r/1/a", Origin("a", "1")), ("r/12/b", Origin("b", "12"))],
)
def test_a_frame_says_where_it_comes_from(run: str, expected: Origin) -> None:
    assert Origin.of(Frame(run)) == expected


def test_a_container_that_was_replaced_counts_no_more() -> None:
    order = EventOrder(attaches=False)
    assert order.container == ""
    assert not order.follow(FIRST), "no container was before"
    assert numbers(order.feed(FIRST, frame(FIRST, 0, 1))) == [0, 1]
    assert not order.follow(FIRST)
    assert order.follow(SECOND)
    assert (order.container, order.next_number) == ("b", 0)
    assert not order.follow(FIRST), "a late frame does not bring the replaced container back"
    assert order.feed(FIRST, frame(FIRST, 2)) is None
    assert order.take(FIRST, segment_of(FIRST, events_of("late"))) is None
    assert numbers(order.feed(SECOND, frame(SECOND, 0))) == [0]
    assert (order.container, order.next_number) == ("b", 1)


def test_the_lives_of_other_nodes_replace_none() -> None:
    order = EventOrder(attaches=False)
    deliver(order, FIRST, frame(FIRST, 0))
    for origin in (Origin("b", "1"), Origin("c", "1"), Origin("b", "2")):
        assert not order.follow(origin)
        assert numbers(order.feed(origin, frame(origin, 0))) == [0]
    assert (order.container, order.next_number) == ("a", 1)


def test_what_waits_for_a_missing_event_is_seen() -> None:
    order = EventOrder(attaches=False)
    assert numbers(deliver(order, FIRST, frame(FIRST, 1))) == []
    assert order.is_behind
    assert numbers(deliver(order, FIRST, frame(FIRST, 0))) == [0, 1]
    assert not order.is_behind
    other = Origin("a", "1")
    assert numbers(deliver(order, other, frame(other, 5))) == []
    assert not order.is_behind, "the reader of the log asks for the first node's events only"


@pytest.mark.parametrize("origin", [FIRST, Origin("a", "1")])
def test_a_segment_behind_a_missing_event_is_left_to_the_reader(origin: Origin) -> None:
    order, events = EventOrder(attaches=True), events_of("0", "1", "2", "3")
    assert numbers(deliver(order, origin, segment_of(origin, events[:2]))) == [0, 1]
    assert deliver(order, origin, segment_of(origin, events[3:])) is None
    assert numbers(deliver(order, origin, segment_of(origin, events[:2]))) == [], "it has come before"
    assert numbers(deliver(order, origin, segment_of(origin, events[1:]))) == [2, 3]


def test_the_tail_of_the_answer_continues_the_frames() -> None:
    order = EventOrder(attaches=False)
    deliver(order, FIRST, frame(FIRST, 0, 1))
    deliver(order, FIRST, frame(FIRST, 3))
    assert numbers(order.add(frame(FIRST, 2, 3, 4).events)) == [2, 3, 4]
    assert numbers(order.add(())) == []
    assert order.next_number == 5


def test_a_damaged_frame_is_refused() -> None:
    order = EventOrder(attaches=False)
    order.follow(FIRST)
    with pytest.raises(DamagedError):
        order.feed(FIRST, Frame("r/a", ("no event",)))  # type: ignore[arg-type]  # as a damaged pickle has it
    with pytest.raises(DamagedError):
        order.take(FIRST, Segment(0, 1, (b"no frame",)))


OTHER = Origin("x", "1")


@pytest.mark.parametrize("attaches", [False, True])
@pytest.mark.parametrize(
    "arrived, answer, sender_has, attached_has",
    [
        pytest.param([], (0, 0, 0), True, True, id="a run without events"),
        pytest.param([frame(FIRST, 0)], (2, 3, 0), False, False, id="events are missing"),
        pytest.param([frame(FIRST, 0, 1, 2)], (2, 3, 0), True, True, id="all events have come, in one frame less"),
        pytest.param([frame(FIRST, 0)], (2, 3, 2), True, True, id="the rest is in the tail"),
        pytest.param([frame(FIRST, 0)], (2, 3, 1), False, False, id="one is neither here nor in the tail"),
        pytest.param([frame(FIRST, 0), frame(FIRST, 2)], (2, 3, 0), True, False, id="all frames have come, one empty"),
        pytest.param([frame(FIRST, 0), frame(OTHER, 0)], (3, 1, 0), False, True, id="another node has more frames"),
        pytest.param([frame(FIRST, 0), frame(OTHER, 0)], (2, 1, 0), True, True, id="the frames of all nodes"),
        pytest.param([frame(OTHER, 0)], (1, 1, 0), True, False, id="frames of another node count"),
        pytest.param(
            [frame(FIRST, 0), segment_of(OTHER, events_of("0", "1")[1:])], (2, 1, 0), False, True, id="a gap there"
        ),
        pytest.param(
            [frame(FIRST, 0), frame(FIRST, 1), frame(SECOND, 0)], (3, 2, 0), False, False, id="frames of a life before"
        ),
        pytest.param(
            [frame(FIRST, 0, 1), frame(SECOND, 0), frame(FIRST, 1)], (2, 2, 0), False, False, id="late frames of it"
        ),
    ],
)
def test_when_all_is_here_that_does_not_come_with_the_answer(
    arrived: list[Item],
    answer: tuple[int, int, int],
    sender_has: bool,
    attached_has: bool,
    attaches: bool,
) -> None:
    """The answer's frames and events, and the number of events in its tail."""
    frames, events, tail = answer
    order = EventOrder(attaches=attaches)
    for item in arrived:
        deliver(order, Origin.of(item) if isinstance(item, Frame) else OTHER, item)
    made = Answer("g", "1", frames=frames, events=events, tail=frame(FIRST, *range(events - tail, events)).events)
    assert order.has_all_posted(made) is (attached_has if attaches else sender_has)
