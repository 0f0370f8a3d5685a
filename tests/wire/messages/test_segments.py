"""The log on the Volume: merged with the live frames, it gives every reader every event once, in order."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.events import Answer, Event, Frame, StayedValue, Transfer
from modal_gpu_magic.wire.messages.log import Assembler, Log, cut
from modal_gpu_magic.wire.messages.segments import (
    Segment,
    Span,
    for_log,
    generation_of,
    life_name,
    opened_answer,
    opened_segment,
    run_directory,
    sealed_end,
    sealed_segment,
    session_directory,
    to_read,
)

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda each: Span(each[0], sum(each))))


def log_of(sizes: list[int]) -> Log:
    log = Log()
    for number, size in enumerate(sizes):
        log.add("stream", {"name": "stdout", "text": f"{number}:" + "x" * size})
    return log


@given(SPANS, st.integers(0, 30))
def test_what_is_read_has_no_gap_and_reaches_as_far_as_any_choice(spans: list[Span], number: int) -> None:
    chosen = to_read(spans, number)
    reached = number
    for span in chosen:
        assert span.first <= reached < span.end
        reached = span.end
    furthest = number
    while steps := [span.end for span in spans if span.first <= furthest < span.end]:
        furthest = max(steps)
    assert reached == furthest


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int], list[tuple[str, int]]]:
    """A run's events, the numbers at which the container writes files, and what happens then."""
    sizes = draw(st.lists(st.sampled_from([0, 5, 300, 2500]), min_size=1, max_size=25))
    files = sorted(draw(st.sets(st.integers(1, len(sizes)))) | {len(sizes)})
    acts = draw(
        st.lists(st.tuples(st.sampled_from(["queue", "lose", "write", "commit", "read", "die"]), st.integers(0, 9)))
    )
    return sizes, files, acts


class Run:
    """The model: a queue that loses frames or gives them to another reader, files that are listed late."""

    def __init__(self, sizes: list[int], files: list[int]) -> None:
        self.log = log_of(sizes)
        self.events = list(self.log.since(0))
        self.queue = list(cut("r/g", self.events, 1500))
        self.pending, self.written, self.listed = files, dict[str, bytes](), dict[str, bytes]()
        self.done = 0
        self.die()

    def die(self) -> None:
        """Another reader attaches."""
        self.reader, self.shown = Assembler(), list[Event]()

    def take(self, which: int, *, lost: bool) -> None:
        """The queue gives one of its frames to the reader, or to nobody."""
        packed = self.queue.pop(which % len(self.queue)) if self.queue else None
        if packed is not None and not lost:
            self.shown += self.reader.feed(pickle.loads(packed.blob))

    def write(self) -> None:
        """A file grows until it has three events, then the next one begins: the container replaces the shorter one."""
        if not self.pending:
            return
        first, end = self.done, self.pending.pop(0)
        spans = [span for name in self.written if (span := Span.of(name))]
        for grown in [span for span in spans if span.end == first and span.end - span.first < 3]:
            del self.written[grown.name]
            first = grown.first
        frames = tuple(packed.blob for packed in cut("r/g", self.events[first:end], 1500))
        self.written[Span(first, end).name] = sealed_segment(Segment(first, end, frames))
        self.done = end

    def read(self) -> None:
        """The reader takes from the files, as they were listed, what it lacks."""
        for span in to_read([span for name in self.listed if (span := Span.of(name))], self.reader.next_number):
            self.shown += self.reader.take(opened_segment(self.listed[span.name], span))

    def act(self, act: str, which: int) -> None:
        """One step."""
        match act:
            case "queue" | "lose":
                self.take(which, lost=act == "lose")
            case "commit":
                self.listed = dict(self.written)
            case _:
                getattr(self, act)()


@given(histories())
def test_any_reader_has_every_event_once_in_order(history: Any) -> None:
    """What each reader shows is at any time a beginning of the run's output, and at the end all of it."""
    sizes, files, acts = history
    run = Run(sizes, files)
    for act, which in acts:
        run.act(act, which)
        assert run.shown == run.events[: len(run.shown)]
    while run.pending:
        run.write()
    run.act("commit", 0)
    run.read()
    assert run.shown == run.events


def test_numbers_that_a_segment_lacks_were_dropped() -> None:
    log = log_of([1] * 10)
    kept = [log.since(0)[0], Event(1, "note", {"text": "dropped"}), log.since(0)[7]]
    remains = Segment(0, 8, tuple(packed.blob for packed in cut("r/g", kept)))
    reader = Assembler()
    reader.feed(Frame("r/g", log.since(9)))
    assert [event.number for event in reader.take(remains)] == [0, 1, 7]
    assert [event.number for event in reader.feed(Frame("r/g", log.since(8)))] == [8, 9]


def test_a_damaged_file_is_refused() -> None:
    span = Span(0, 1)
    blob = sealed_segment(Segment(0, 1, ()))
    assert opened_segment(blob, span).span == span
    with pytest.raises(DamagedError):
        opened_segment(blob[:-1], span)
    with pytest.raises(DamagedError):
        opened_segment(blob, Span(0, 2))
    with pytest.raises(DamagedError):
        opened_segment(sealed_end(Answer("g", "1")), span)


def test_the_end_has_no_values() -> None:
    answer = Answer("g", "1", values=Transfer(b"big"), stays=(StayedValue("v", "T", "s", "w"),), names=("v",), events=7)
    kept = opened_answer(sealed_end(answer))
    assert (kept.values, kept.stays, kept.names, kept.events) == (None, (), ("v",), 7)
    event = for_log(Event(3, "end", {"answer": answer}))
    assert event.content["answer"] == kept


@pytest.mark.parametrize("name", ["a", "a/b", "..", ".", "ä ö", "a%2Fb", "x" * 60, "-"])
def test_any_session_has_a_directory_of_its_own(name: str) -> None:
    directory = session_directory(name)
    assert "/" not in directory
    assert directory.strip(".")
    assert run_directory(name, "r/1") == f"{directory}/runs/r%2F1"


def test_lives_sort_by_time() -> None:
    early, late = life_name(999.9, "zz9"), life_name(1_800_000_000.0, "aa1")
    assert early < late
    assert generation_of(late) == "aa1"
    assert generation_of("end") is None
