"""The numbered log: whatever way its frames travel, the reader has every event once, in order."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.wire.messages.events import FRAME_BYTES, Event, Frame
from modal_gpu_magic.wire.messages.log import SAMPLES, Assembler, Log, cut, weigh

CONTENTS = st.one_of(
    st.builds(
        lambda n, c: ("stream", {"name": "stdout", "text": c * n}), st.integers(0, 9000), st.sampled_from("aé中🎉")
    ),
    st.builds(lambda n: ("display_data", {"data": {"x": ["same"] * n}, "metadata": {}}), st.integers(0, 3000)),
    st.just(("clear_output", {"wait": True})),
)
LIMIT = 2000


def logged(contents: list[tuple[Any, dict[str, Any]]], limit: int = 1 << 30) -> Log:
    log = Log(limit)
    for kind, content in contents:
        log.add(kind, content)
    return log


def frames(log: Log, limit: int = LIMIT) -> list[Frame]:
    return [pickle.loads(packed.blob) for packed in cut("r", log.since(0), limit)]


@given(st.lists(CONTENTS, max_size=8))
def test_frames_are_within_the_limit_and_say_how_far_they_reach(contents: list[Any]) -> None:
    log = logged(contents)
    packed = list(cut("r", log.since(0), LIMIT))
    assert all(len(frame.blob) <= LIMIT for frame in packed)
    assembler = Assembler()
    for frame in packed:
        assembler.feed(pickle.loads(frame.blob))
        assert assembler.next_number == frame.reaches
    assert assembler.next_number == len(contents)


@given(st.lists(CONTENTS, max_size=6), st.randoms(use_true_random=False), st.data())
def test_any_order_and_any_duplicates_give_the_same_events(
    contents: list[Any], random: Any, data: st.DataObject
) -> None:
    log = logged(contents)
    sent = frames(log)
    travelled = [frame for frame in sent for _ in range(data.draw(st.integers(1, 2)))]
    random.shuffle(travelled)
    assembler = Assembler()
    came = [event for frame in travelled for event in assembler.feed(frame)]
    assert came == list(log.since(0))
    assert not assembler.missing
    assert not assembler._parts, "parts of what has come are not kept"


@given(st.lists(CONTENTS, min_size=1, max_size=6), st.data())
def test_what_was_lost_is_asked_for_by_number(contents: list[Any], data: st.DataObject) -> None:
    log = logged(contents)
    kept = [frame for frame in frames(log) if data.draw(st.booleans())]
    assembler = Assembler()
    came = [event for frame in kept for event in assembler.feed(frame)]
    came += assembler.feed(Frame("r", log.since(assembler.next_number)))
    assert came == list(log.since(0))


def test_missing_names_the_gap() -> None:
    assembler = Assembler()
    assert assembler.feed(Frame("r", (Event(2, "note", {}), Event(3, "note", {})))) == []
    assert assembler.missing == range(2)
    assert [e.number for e in assembler.feed(Frame("r", (Event(0, "note", {}), Event(1, "note", {}))))] == [0, 1, 2, 3]
    assert not assembler.missing


def test_a_large_display_crosses_in_parts_of_a_queue_item() -> None:
    html = "".join(map(str, range(600_000)))
    log = logged([("display_data", {"data": {"text/html": html}})])
    sent = list(cut("run-1/" + "a" * 40, log.since(0)))
    assert all(len(frame.blob) <= FRAME_BYTES for frame in sent)
    assert [frame.reaches for frame in sent] == [0] * (len(sent) - 1) + [1]
    assembler = Assembler()
    assert [e for frame in sent for e in assembler.feed(pickle.loads(frame.blob))] == list(log.since(0))


def text(size: int) -> tuple[str, dict[str, Any]]:
    return "stream", {"name": "stdout", "text": "x" * size}


def test_beyond_its_limit_a_log_gives_up_the_oldest_text_and_says_so() -> None:
    log = logged([text(4000), ("display_data", {"data": {"text/plain": "kept"}}), text(5000), *[text(1000)] * 9], 9000)
    assert log.nbytes <= 9000
    events = log.since(0)
    assert [event.number for event in events] == list(range(12))
    assert events[0].kind == "note"
    assert re.match(r"[\d.]+ kB of output were dropped \(printed text\)", events[0].content["text"])
    assert events[1].content == {"data": {"text/plain": "kept"}}
    assert events[2].kind == "note"
    assert events[3].content == {"name": "stdout", "text": ""}
    assert events[-1].content["text"] == "x" * 1000
    assert log.since(11) == events[11:]


def test_a_log_over_its_limit_with_no_text_gives_up_the_oldest_of_all() -> None:
    log = logged([("display_data", {"data": {"text/plain": "x" * 3000}})] * 5, 8000)
    assert [event.kind for event in log.since(0)] == ["note", "stream", "stream", "display_data", "display_data"]


def test_what_was_dropped_is_said_with_its_true_size() -> None:
    """Displays and text by turns, ever beyond the limit: nothing fails, and what comes later is whole."""
    log = Log(3_000_000)
    for number in range(12):
        log.add("display_data", {"data": {"image/png": f"{number}" * 1_000_000}})
        log.add("stream", {"name": "stdout", "text": f"{number}\n"})
    events = log.since(0)
    assert [event.number for event in events] == list(range(24))
    said = [event.content["text"] for event in events if event.kind == "note"]
    assert sum(float(words.partition(" MB")[0]) for words in said if "MB" in words) == pytest.approx(11, abs=2.1)
    assert "printed text" in " ".join(said)
    assert "displays" in " ".join(said)
    assert events[-1].content["text"] == "11\n"
    log.forget(24)
    log.add("stream", {"name": "stdout", "text": "after"})
    assert [event.content["text"] for event in log.since(24)] == ["after"]


def test_what_was_posted_makes_room_first() -> None:
    log = Log(3_000_000)
    for number in range(12):
        log.add("stream", {"name": "stdout", "text": "x" * 1_000_000})
        log.posted = number
    assert [event.kind for event in log.since(10)] == ["stream", "stream"]
    assert all(len(event.content["text"]) == 1_000_000 for event in log.since(10))
    assert log.since(0)[0].kind == "note"


def test_one_event_over_the_limit_is_kept() -> None:
    log = logged([text(10_000)], 100)
    assert log.since(0)[0].content["text"] == "x" * 10_000


def test_forgotten_events_are_gone_and_their_bytes_with_them() -> None:
    log = logged([text(1000)] * 4)
    before = log.nbytes
    log.forget(3)
    assert log.nbytes == before // 4
    assert [event.number for event in log.since(0)] == [3]
    log.forget(4)
    assert log.since(0) == ()
    assert log.nbytes == 0
    log.add("stream", {"name": "stdout", "text": "more"})
    assert [event.number for event in log.since(0)] == [4]


@pytest.mark.parametrize("run", ["r", "r" * 300])
def test_the_room_for_a_run_s_name_is_counted(run: str) -> None:
    log = logged([text(50_000)])
    assert all(len(frame.blob) <= LIMIT for frame in cut(run, log.since(0), LIMIT))


def test_old_samples_go_and_leave_no_gap() -> None:
    """A run of a day has 86,400: the log keeps the newest, and what a cell printed among them stays."""
    sample = {"time": 1.0, "node": 0, "running": True, "rows": ((0, "GPU-0", None),)}
    log = logged([("stream", {"name": "stdout", "text": "first"}), *[("sample", sample)] * (SAMPLES + 5)])
    size = log.nbytes
    log.add("sample", sample)
    assert log.nbytes - size < weigh(sample) / 2, "one came, and one went"
    events = log.since(0)
    assert [event.number for event in events] == list(range(SAMPLES + 7))
    assert [event.content for event in events if event.kind == "sample"] == [sample] * SAMPLES
    assert "".join(event.content["text"] for event in events if event.kind == "stream") == "first"


def test_samples_that_nobody_will_ask_for_are_forgotten() -> None:
    log = logged([("sample", {"rows": ()})] * 10)
    log.forget(10)
    for _ in range(SAMPLES + 1):
        log.add("sample", {"rows": ()})
    assert len(log.since(10)) == SAMPLES + 1
