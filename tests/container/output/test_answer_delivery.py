"""The answer of a run: once more for a request that comes twice, and as an event where the result would be a blob."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator

import pytest

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES, SPAWN_BYTES
from modal_gpu_magic.container.output.answer_delivery import AnswerDelivery
from modal_gpu_magic.container.output.event_sender import EventSender
from modal_gpu_magic.wire.messages.events import Answer, Event, Frame, Transfer

EMPTY = Answer("g", "1")


class Container:
    """A container whose frames go into a list."""

    def __init__(self) -> None:
        self.sender = EventSender()
        self.delivery = AnswerDelivery(self.sender)
        self.frames: list[bytes] = []

    def begin(self, run: str) -> None:
        self.delivery.begin()
        self.sender.begin(run, self.frames.extend)
        self.sender.hold(3600)  # on a busy machine, events would become due before the run ends

    def run(self, run: str, answer: Answer = EMPTY) -> Answer:
        self.begin(run)
        self.sender.emit("note", text=run)
        return self.delivery.end(run, answer)

    @property
    def events(self) -> list[Event]:
        """The events in the queue."""
        posted: list[Frame] = list(map(pickle.loads, self.frames))
        return [event for frame in posted for event in frame.events]


@pytest.fixture
def container() -> Iterator[Container]:
    container = Container()
    yield container
    container.sender.close()


def test_the_answer_takes_the_events_along_that_the_queue_has_not(container: Container) -> None:
    began = time.time()
    answer = container.run("1", Answer("g", "1", failed={"x": "why"}, made_at=1.0))
    assert [event.content for event in answer.tail] == [{"text": "1"}]
    assert (answer.frames, answer.events, answer.failed) == (0, 1, {"x": "why"})
    assert began <= answer.made_at <= time.time()
    assert container.delivery.last is answer
    container.begin("2")
    container.sender.emit("note", text="2")
    assert container.sender.flush_now(60)
    answer = container.delivery.end("2", EMPTY)
    assert (answer.frames, answer.events, answer.tail) == (1, 1, ())


@pytest.mark.parametrize(
    "asked, then, has_answer, is_given_up",
    [
        ("2", "", True, False),
        ("1", "", False, True),
        ("3", "", False, True),
        ("", "", False, True),
        ("2", "3", False, False),
        ("1", "3", False, True),
        ("3", "3", False, True),
    ],
)
def test_a_run_whose_answer_was_lost_is_answered_or_given_up(
    container: Container, asked: str, then: str, has_answer: bool, is_given_up: bool
) -> None:
    """`then`: the run that has begun and not ended."""
    container.run("1")
    last = container.run("2")
    if then:
        container.begin(then)
    answer = container.delivery.answer_or_give_up(asked)
    assert (answer is last) is has_answer
    assert answer is None or has_answer
    assert container.delivery.answer_of(asked) is answer
    assert container.delivery.is_given_up(asked) is is_given_up


def test_nothing_is_given_up_that_nobody_has_asked_for(container: Container) -> None:
    assert (container.delivery.last, container.delivery.answer_of("1")) == (None, None)
    container.run("1")
    container.delivery.answer_of("2")
    assert not any(map(container.delivery.is_given_up, "123"))


def test_the_events_of_the_last_run_come_again(container: Container) -> None:
    container.run("1")
    container.run("2")
    assert [event.content for event in container.delivery.events_from("2", 0)] == [{"text": "2"}]
    assert container.delivery.events_from("2", 1) == ()
    assert container.delivery.events_from("1", 0) == ()


@pytest.mark.parametrize(
    "values_bytes, text_bytes, is_slow",
    [
        (0, 0, False),
        (SPAWN_BYTES // 2, 0, False),
        (SPAWN_BYTES, 0, True),
        (0, SPAWN_BYTES, True),
        (SPAWN_BYTES // 2, SPAWN_BYTES // 2, True),
        (QUEUE_ITEM_BYTES, 0, True),
        (QUEUE_ITEM_BYTES + 1, 0, False),
    ],
)
def test_an_answer_is_slow_if_it_would_be_a_blob_and_fits_into_the_queue(
    container: Container, values_bytes: int, text_bytes: int, is_slow: bool
) -> None:
    container.begin("1")
    container.sender.text("stdout", "a" * text_bytes)
    values = Transfer(stream=os.urandom(values_bytes), nbytes=values_bytes)
    assert container.delivery.is_slow(Answer("g", "1", values=values)) is is_slow


def test_an_answer_is_the_last_event_of_its_run(container: Container) -> None:
    container.begin("1")
    container.sender.emit("note", text="before")
    assert container.delivery.send_as_event(EMPTY)
    assert [(event.kind, event.content) for event in container.events] == [
        ("note", {"text": "before"}),
        ("end", {"answer": EMPTY}),
    ]
    assert container.delivery.end("1", EMPTY).tail == ()
