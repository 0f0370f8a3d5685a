"""The reader of a log: files that are replaced while they are read, lives that follow one another, and summaries."""

from __future__ import annotations

from typing import Any

from modal_gpu_magic.sdk.log_reader import LogReader, first_and_last
from modal_gpu_magic.wire.messages.events import Answer, Event
from modal_gpu_magic.wire.messages.log import Assembler, Log, cut
from modal_gpu_magic.wire.messages.segments import (
    END,
    Segment,
    Span,
    life_name,
    run_directory,
    sealed_end,
    sealed_segment,
)


class Files:
    """A Volume in memory. `racing`: files that are gone when they are read for the first time."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.racing: dict[str, dict[str, bytes]] = {}

    def write(self, life: str, events: tuple[Event, ...]) -> str:
        span = Span(events[0].number, events[-1].number + 1)
        frames = tuple(packed.blob for packed in cut(f"r/{life}", events))
        path = f"{run_directory('s', 'r')}/{life}/{span.name}"
        self.files[path] = sealed_segment(Segment(span.first, span.end, frames))
        return path

    def paths(self, directory: str) -> list[str]:
        return [path for path in self.files if path.startswith(f"{directory}/")]

    def content(self, path: str) -> bytes | None:
        if path in self.racing:
            del self.files[path]
            self.files.update(self.racing.pop(path))
            return None
        return self.files.get(path)


class Pump:
    """Takes what a reader tells, as the real one does."""

    def __init__(self, files: Files) -> None:
        self.reader = LogReader(files, "s", "r", self.tell, lambda: None)
        self.life, self.assembler, self.shown, self.ends = "", Assembler(), list[tuple[str, str]](), list[Answer]()

    def tell(self, kind: str, body: Any) -> None:
        if kind == "logged_end":
            self.ends.append(body)
            return
        life, segment = body
        if life != self.life:
            self.life, self.assembler = life, Assembler()
        self.shown += [(life, event.content["text"]) for event in self.assembler.take(segment)]
        self.reader.at(self.life, self.assembler.next_number, is_behind=False)


def events_of(*texts: str) -> tuple[Event, ...]:
    log = Log()
    for text in texts:
        log.add("stream", {"name": "stdout", "text": text})
    return log.since(0)


FIRST, SECOND = life_name(1.0, "aa"), life_name(2.0, "bb")


def test_a_file_that_is_replaced_while_it_is_read_is_found_again() -> None:
    files, events = Files(), events_of("a", "b", "c", "d")
    short = files.write(FIRST, events[:2])
    pump = Pump(files)
    after = Files()
    after.write(FIRST, events[:3])
    files.racing[short] = after.files
    pump.reader.read()
    assert [text for _, text in pump.shown] == ["a", "b", "c"]
    files.write(FIRST, events)
    pump.reader.read()
    pump.reader.read()
    assert [text for _, text in pump.shown] == ["a", "b", "c", "d"]


def test_lives_follow_one_another_and_only_the_last_one_ends() -> None:
    files = Files()
    files.write(FIRST, events_of("old"))
    files.files[f"{run_directory('s', 'r')}/{FIRST}/{END}"] = sealed_end(Answer("aa", "1"))
    files.write(SECOND, events_of("new", "newer"))
    pump = Pump(files)
    pump.reader.read()
    assert pump.shown == [("aa", "old"), ("bb", "new"), ("bb", "newer")]
    assert pump.ends == []
    files.files[f"{run_directory('s', 'r')}/{SECOND}/{END}"] = sealed_end(Answer("bb", "1", events=2))
    pump.reader.read()
    pump.reader.read()
    assert [answer.generation for answer in pump.ends] == ["bb"]
    assert [event.content["text"] for event in pump.reader.rest(1, 5.0, lambda: False)] == ["newer"]


def test_a_run_in_short() -> None:
    files, log = Files(), Log()
    log.add("started", {"generation": "aa", "time": 12.0, "booted_at": 10.0, "call": "fc-1"})
    log.add("stream", {"name": "stdout", "text": "epoch 1\nepoch 2\r50 %\r100 %\n\n"})
    assert first_and_last(files, "s", "r") is None
    files.write(FIRST, log.since(0))
    seen = first_and_last(files, "s", "r")
    assert seen is not None
    assert (seen.booted_at, seen.started_at, seen.ended_at, seen.last_line) == (10.0, 12.0, None, "100 %")
    files.files[f"{run_directory('s', 'r')}/{FIRST}/{END}"] = sealed_end(Answer("aa", "1", made_at=20.0))
    ended = first_and_last(files, "s", "r")
    assert ended is not None
    assert ended.ended_at == 20.0


def test_a_run_that_was_followed_at_once_has_no_log_to_wait_for() -> None:
    """Its kernel has shown its output; a later run is in its place."""
    files, looks = Files(), iter([False, False, True])
    assert Pump(files).reader.rest(0, 600.0, lambda: next(looks)) == ()
    assert next(looks, None) is None


def test_a_run_whose_log_exists_is_waited_for_to_its_end() -> None:
    files = Files()
    files.write(FIRST, events_of("said"))
    files.files[f"{run_directory('s', 'r')}/{FIRST}/{END}"] = sealed_end(Answer("aa", "1"))
    assert [event.content["text"] for event in Pump(files).reader.rest(0, 600.0, lambda: True)] == ["said"]
