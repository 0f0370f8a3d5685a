"""The end of a run's log: written beside the answer, and not at all if the same kernel sends the next run at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modal_gpu_magic.container.output import log_closing
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
    assert run.committed.wait(60)  # the first of two commits, which has the events: the closing has begun by itself
    closing.finish(60)
    assert run.files == BOTH


def test_a_run_that_its_kernel_has_followed_by_another_has_no_log(
    closing: LogClosing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_closing, "monotonic", lambda: 0.0)  # the pause after the first run is not over
    first, second = Run(tmp_path, "k-1"), Run(tmp_path, "k-2")
    closing.close(first.log, ANSWER, "owner")
    closing.begins("owner")
    closing.close(second.log, ANSWER, "owner")
    closing.finish(60)
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
    run, is_slow, may_write = Run(tmp_path, "k-1"), threading.Event(), threading.Event()

    def write_slowly() -> None:
        with run.log._lock:
            is_slow.set()
            may_write.wait()

    disk = threading.Thread(target=write_slowly, daemon=True)
    disk.start()
    assert is_slow.wait(60)
    closing.close(run.log, ANSWER, "owner")
    assert run.files == set()
    may_write.set()
    disk.join()
    closing.finish(60)
    assert run.files == BOTH
