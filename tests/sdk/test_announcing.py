"""Announcements of runs: soon, several in one, again after a failure, and the last one before the end."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from modal_gpu_magic.sdk import announcing as announcing_module
from modal_gpu_magic.sdk.announcing import PAUSE_SECONDS, Announcing


@dataclass
class Server:
    """Counts what is written; fails as often as it is told to."""

    failures: int = 0
    writes: list[float] = field(default_factory=list)
    written: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        self.writes.append(time.monotonic())
        if len(self.writes) <= self.failures:
            raise ConnectionError
        self.written.set()


def test_runs_that_follow_each_other_are_announced_together() -> None:
    server, began = Server(), time.monotonic()
    announcing = Announcing(server.write)
    for _ in range(100):
        announcing.soon()
    took = time.monotonic() - began
    assert server.written.wait(60)
    assert len(server.writes) <= 1 + took / PAUSE_SECONDS


def test_what_a_run_needs_later_is_begun_then() -> None:
    server, begun = Server(), threading.Event()
    Announcing(server.write).soon(begun.set)
    assert begun.wait(60)


def test_an_announcement_that_fails_is_tried_again() -> None:
    server = Server(failures=1)
    Announcing(server.write).soon()
    assert server.written.wait(60)
    assert len(server.writes) == 2


def test_the_last_announcement_is_written_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing_module, "CLOSE_SECONDS", 100.0)
    server = Server()
    announcing = Announcing(server.write)
    announcing.soon()
    announcing.close()
    assert len(server.writes) == 1
