"""The end of a run's log: written beside the answer, and not at all if the same kernel sends the next run at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from modal_gpu_magic.container.output.log_closing import LogClosing
from modal_gpu_magic.container.output.run_log import RunLog
from modal_gpu_magic.wire.messages.events import Answer, Event
from modal_gpu_magic.wire.messages.log import cut
from modal_gpu_magic.wire.messages.segments import END, Span

ANSWER = Answer(generation="g", version="1")
EVENTS = (Event(0, "stream", {"name": "stdout", "text": "one\n"}),)
BOTH = {END, Span(0, 1).name}


class Run:
    """A run with one event and its log."""

    def __init__(self, path: Path, name: str) -> None:
        self.directory = path / name / "life"
        self.committed = threading.Event()
        self.log = RunLog(self.directory, self.committed.set, lambda _: None, name)
        self.log.add_last(EVENTS)

    @property
    def files(self) -> set[str]:
        """The files of its log."""
        return {path.name for path in self.directory.iterdir()} if self.directory.exists() else set()


@pytest.fixture
def closing() -> LogClosing:
    return LogClosing()


def test_the_log_is_whole_soon_after_the_end(closing: LogClosing, tmp_path: Path) -> None:
    run = Run(tmp_path, "k-1")
    closing.close(run.log, ANSWER, "owner")
    assert run.committed.wait(10)  # the first of two commits, which has the events: the closing has begun by itself
    closing.finish(10)
    assert run.files == BOTH


def test_a_run_that_its_kernel_has_followed_by_another_has_no_log(closing: LogClosing, tmp_path: Path) -> None:
    first, second = Run(tmp_path, "k-1"), Run(tmp_path, "k-2")
    closing.close(first.log, ANSWER, "owner")
    closing.begins("owner")
    closing.close(second.log, ANSWER, "owner")
    closing.finish(10)
    assert (first.files, second.files) == (set(), BOTH)
    assert second.committed.is_set()


def test_a_run_whose_kernel_has_not_sent_the_next_one_has_its_log(closing: LogClosing, tmp_path: Path) -> None:
    run = Run(tmp_path, "k-1")
    closing.close(run.log, ANSWER, "owner")
    closing.begins("another")
    assert run.files == BOTH


def test_a_log_that_has_begun_is_completed(closing: LogClosing, tmp_path: Path) -> None:
    run = Run(tmp_path, "k-1")
    run.log.add_last(())
    run.log.add(cut("k-1", EVENTS))
    run.log.write()
    closing.close(run.log, ANSWER, "owner")
    closing.begins("owner")
    assert run.files == BOTH


def test_the_answer_does_not_wait_for_the_disk(closing: LogClosing, tmp_path: Path) -> None:
    run = Run(tmp_path, "k-1")
    began = time.monotonic()
    with run.log._lock:  # the disk is slow
        closing.close(run.log, ANSWER, "owner")
        assert time.monotonic() - began < 1
    closing.finish(10)
    assert run.files == BOTH
