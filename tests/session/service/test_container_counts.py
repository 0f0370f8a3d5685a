"""The number of a service's containers is asked for while some may run, and no longer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from modal_gpu_magic.session.service import container_counts
from modal_gpu_magic.session.service.container_counts import ContainerCounts
from modal_gpu_magic.session.service.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

SOON = 30.0


@dataclass
class Cloud:
    """Counts containers, and the questions for their number."""

    running: int | None = 0
    asked: int = 0
    counted: int = 0
    clock: float = 0.0
    usage: Usage = field(init=False)

    def __post_init__(self) -> None:
        self.usage = Usage(60, clock=lambda: self.clock)

    def counts(self) -> ContainerCounts:
        made = ContainerCounts(self.usage, self.read, self.note)
        self.usage.on_change = made.note
        return made

    def read(self) -> int | None:
        self.asked += 1
        return self.running

    def note(self) -> None:
        self.counted += 1


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def askers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "modal-gpu-containers"]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_counts, "SOON_SECONDS", 0.01)
    monkeypatch.setattr(container_counts, "LATER_SECONDS", 0.02)


def test_the_count_holds_while_a_call_runs_and_in_its_idle_time() -> None:
    cloud = Cloud(running=3)
    counts = cloud.counts()
    with cloud.usage.use():
        wait_until(lambda: cloud.usage.alive == 3)
        cloud.running = 5
        wait_until(lambda: cloud.usage.alive == 5)
    cloud.running = 2
    wait_until(lambda: cloud.usage.alive == 2)
    assert cloud.counted > 0
    counts.close()
    wait_until(lambda: not askers())


def test_nobody_asks_once_no_container_can_run_and_again_with_the_next_call() -> None:
    cloud = Cloud(running=1)
    counts = cloud.counts()
    with cloud.usage.use():
        wait_until(lambda: cloud.asked)
    cloud.clock = 61.0
    wait_until(lambda: not askers())
    asked = cloud.asked
    with cloud.usage.use():
        wait_until(lambda: cloud.asked > asked)
        assert len(askers()) == 1
    counts.close()
    wait_until(lambda: not askers())


def test_no_answer_changes_nothing() -> None:
    cloud = Cloud(running=4)
    counts = cloud.counts()
    with cloud.usage.use():
        wait_until(lambda: cloud.usage.alive == 4)
        cloud.running = None
        asked = cloud.asked
        wait_until(lambda: cloud.asked > asked + 2)
        assert cloud.usage.alive == 4
    counts.close()
    wait_until(lambda: not askers())


def test_nobody_asks_after_the_end() -> None:
    cloud = Cloud(running=4)
    counts = cloud.counts()
    counts.close()
    with cloud.usage.use():
        assert not askers()
    assert cloud.asked == 0
