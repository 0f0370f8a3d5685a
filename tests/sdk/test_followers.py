"""Threads that wait for calls: kept for the next call, and never in the way of the process's end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from modal_gpu_magic.sdk.app import Followers

WAITING = """
import atexit, threading
from modal_gpu_magic.sdk.app import FOLLOWERS
begun = threading.Event()
def call():
    begun.set()
    threading.Event().wait()   # Modal does not answer
FOLLOWERS.run(call)
begun.wait()
atexit.register(print, "closed")
"""


def test_a_call_that_is_not_answered_does_not_keep_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAITING], capture_output=True, text=True, timeout=110, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (0, "closed\n")


def test_a_thread_that_is_idle_does_the_next_job() -> None:
    followers, threads = Followers(), set()
    for _ in range(5):
        over = threading.Event()

        def job(over: threading.Event = over) -> None:
            threads.add(threading.current_thread())
            over.set()

        followers.run(job)
        assert over.wait(60)
        while followers._idle == 0:
            time.sleep(0.001)
    assert len(threads) == 1


def test_jobs_that_wait_have_a_thread_each() -> None:
    followers, gate, met = Followers(), threading.Event(), threading.Barrier(9)

    def job() -> None:
        met.wait(60)
        gate.wait(60)

    for _ in range(8):
        followers.run(job)
    met.wait(60)
    gate.set()
