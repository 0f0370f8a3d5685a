"""Work between two cells: a job that fails in any way ends neither the thread nor the jobs of later pauses."""

from __future__ import annotations

import threading

import pytest

from modal_gpu_magic.container.state.idle import IdleWork


class Panic(BaseException):
    """As an extension in Rust raises."""


@pytest.mark.parametrize("error", [ValueError, SystemExit, Panic, KeyboardInterrupt])
def test_a_job_that_fails_is_tried_again_after_the_next_cell(error: type[BaseException]) -> None:
    ran, done = threading.Semaphore(0), threading.Semaphore(0)

    def fail(_: object) -> None:
        ran.release()
        raise error

    def rest(_: object) -> None:
        done.release()

    idle = IdleWork(((0.0, fail), (0.0, rest)))
    for _ in range(2):
        with idle.busy():
            pass
        assert ran.acquire(timeout=30)
        assert done.acquire(timeout=30), "the job behind the one that failed"
