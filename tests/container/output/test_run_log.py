"""The log of a detached run: what its files hold, whatever the queue takes; its limit; a disk that takes nothing."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.container.output.event_sender import EventSender
from modal_gpu_magic.container.output.run_log import GROWN_BYTES, MOST_RUNS, RunLog
from modal_gpu_magic.wire.messages.events import Answer, Event, Transfer
from modal_gpu_magic.wire.messages.log import Assembler, Log, cut
from modal_gpu_magic.wire.messages.seal import sealed
from modal_gpu_magic.wire.messages.segments import (
    END,
    VALUES,
    Span,
    opened_answer,
    opened_segment,
    run_directory,
    run_of_node,
    to_read,
)
from tests.container.smi_double import eventually


def spans(directory: Path) -> list[Span]:
    return [span for path in directory.iterdir() if (span := Span.of(path.name))]


def read(directory: Path) -> list[Event]:
    reader = Assembler()
    chosen = to_read(spans(directory), 0)
    return [e for span in chosen for e in reader.take(opened_segment((directory / span.name).read_bytes(), span))]


def text(events: list[Event]) -> str:
    return "".join(event.content["text"] for event in events if event.kind == "stream")


def refuse(_: list[bytes]) -> None:
    raise queue.Full


class Record:
    """A run with a log, and what was said and committed."""

    def __init__(self, directory: Path, **how: Any) -> None:
        self.directory, self.notes, self.commits = directory, list[str](), 0
        self.committed = threading.Event()
        self.log = RunLog(directory, self._commit, self.notes.append, "r/g", **how)

    def _commit(self) -> None:
        self.commits += 1
        self.committed.set()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "session" / "run" / "life")


def test_the_log_is_whole_whether_the_queue_takes_all_or_nothing(record: Record) -> None:
    for post in (refuse, lambda _: None):
        sender, directory = EventSender(), record.directory / post.__name__
        own = Record(directory)
        sender.begin("r/g", post, own.log)
        lines = [f"line {number}\n" for number in range(20_000)]
        for line in lines:
            sender.text("stdout", line)
        sender.emit("display_data", data={"x": "big" * 700_000}, metadata={})
        finished = sender.finish()
        own.log.close(Answer("g", "1", events=finished.events))
        events = read(directory)
        assert text(events) == "".join(lines)
        assert [event.number for event in events] == list(range(finished.events))
        assert opened_answer((directory / END).read_bytes()).events == finished.events
        sender.close()


def test_events_are_in_a_file_after_the_pause_without_more_output(record: Record) -> None:
    sender = EventSender()
    sender.begin("r/g", lambda _: None, record.log)
    sender.text("stdout", "alone")
    eventually(lambda: record.directory.exists() and spans(record.directory))
    assert text(read(record.directory)) == "alone"
    assert record.committed.wait(60)
    sender.close()


def test_a_small_log_is_one_file_and_a_large_one_has_few(record: Record) -> None:
    log = Log()
    for number in range(300):
        log.add("stream", {"name": "stdout", "text": "x" * (GROWN_BYTES // 100)})
        record.log.add(cut("r/g", log.since(number)))
        record.log.write()
        assert len(spans(record.directory)) <= 1 + number // 95
    assert len(read(record.directory)) == 300


def test_above_the_limit_the_oldest_output_is_dropped_and_a_line_says_so(tmp_path: Path) -> None:
    record = Record(tmp_path, limit=4 * GROWN_BYTES)
    log = Log()
    log.add("started", {"generation": "g", "time": 0.0, "booted_at": 0.0, "call": "fc"})
    for number in range(40):
        log.add("stream", {"name": "stdout", "text": f"{number}." + "x" * (GROWN_BYTES // 2)})
        record.log.add(cut("r/g", log.since(len(log.since(0)) - (2 if number == 0 else 1))))
        record.log.write()
    events = read(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5 * GROWN_BYTES
    assert events[0].kind == "started"
    notes = [event.content["text"] for event in events if event.kind == "note"]
    assert len(notes) == 1
    assert "were dropped" in notes[0]
    left = [event for event in events if event.kind == "stream"]
    assert left == list(log.since(41 - len(left)))
    assert len(left) > 3


def test_a_disk_that_takes_nothing_is_said_once_and_the_output_waits(record: Record) -> None:
    record.directory.parent.parent.mkdir(parents=True)
    record.directory.parent.write_text("in the way")
    log = Log()
    for number in range(5):
        log.add("stream", {"name": "stdout", "text": f"{number}"})
        record.log.add(cut("r/g", log.since(number)))
        record.log.write()
    assert len(record.notes) == 1
    record.directory.parent.unlink()
    record.log.write()
    assert text(read(record.directory)) == "01234"


def test_the_log_has_an_end_event_without_its_values(record: Record) -> None:
    sender, posted = EventSender(), list[bytes]()
    sender.begin("r/g", posted.extend, record.log)
    sender.emit("end", answer=Answer("g", "1", values=Transfer(b"x" * 1000), events=3))
    assert sender.flush_now()
    sender.finish()
    record.log.write()
    (event,) = read(record.directory)
    assert event.content["answer"].values is None
    assert b"x" * 1000 in b"".join(posted)
    sender.close()


def test_the_logs_of_the_newest_runs_are_kept(tmp_path: Path) -> None:
    for number in range(MOST_RUNS + 5):
        record = Record(tmp_path / f"run{number}" / "life")
        record.log.close(Answer("g", "1"))
        assert record.committed.wait(60)
        os.utime(record.directory.parent, (number, number))  # the file system's clock stands still for milliseconds
    assert {path.name for path in tmp_path.iterdir()} == {f"run{number}" for number in range(5, MOST_RUNS + 5)}


def test_the_logs_of_a_clusters_nodes_count_as_one_run(tmp_path: Path) -> None:
    for number in range(MOST_RUNS + 1):
        for node in (1, 0):
            record = Record(tmp_path / run_directory("s", run_of_node(f"run{number}", node)) / "life")
            record.log.close(Answer("g", "1"))
            assert record.committed.wait(60)
            os.utime(record.directory.parent, (number, number))
    left = {path.name for path in (tmp_path / "s" / "runs").iterdir()}
    assert left == {f"run{number}{node}" for number in range(1, MOST_RUNS + 1) for node in ("", "%2F1")}


def test_returned_values_lie_beside_the_end(record: Record) -> None:
    record.log.add_values(sealed(Answer("g", "1", names=("x",))))
    record.log.close(Answer("g", "1"))
    assert record.committed.wait(60)
    assert opened_answer((record.directory / VALUES).read_bytes()).names == ("x",)
    assert opened_answer((record.directory / END).read_bytes()).names == ()
