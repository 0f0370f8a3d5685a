"""A queue that is full, at Modal's size: the live tail loses frames, the log of the run has all of them."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from typing import Final

import pytest

from modal_gpu_magic.catalog.limits import QUEUE_PARTITION_BYTES
from tests.e2e.detached_user import User, pid_of, wait_until

pytestmark = pytest.mark.timeout(400)
SOON: Final = 200.0
LINES, LENGTH = 3_000, 30_000
"""Lines of a cell, and characters of one. Compressed, random digits to the base 85 take four fifths of that."""
CELL: Final = f"""
import base64, hashlib, pathlib, random
choose, digest = random.Random(0), hashlib.sha256()
for number in range({LINES}):
    line = f"{{number}} {{base64.b85encode(choose.randbytes({LENGTH * 4 // 5})).decode()}}\\n"
    digest.update(line.encode())
    print(line, end="", flush=True)
made = digest.hexdigest()
pathlib.Path(over).touch()
made
"""
ROOM: Final = """
import modal, os, queue
from modal_gpu_magic.sdk.client import connect_if_running
session_queue = modal.Queue.from_name("modal-gpu-full", client=connect_if_running("local").client)
room = 0
try:
    while room < 60:
        session_queue.put(os.urandom(1_000_000), block=False)
        room += 1
except queue.Full:
    pass
room
"""
"""Megabytes that the queue still takes. The reader ignores what they hold."""
MOST_ROOM: Final = 16
"""The same, if the last frames were refused: they were put together."""


def ended_runs(user: User) -> int:
    """How many runs of the session have a log that has ended."""
    return len([*user.home.glob("data/modal_gpu_magic/volumes/modal-gpu-full/*/runs/*/*/end")])


def test_all_output_comes_once_although_the_queue_took_a_part(user: User) -> None:
    one, two = user.kernel(), user.kernel()
    over = user.home / "over"
    assert one.run(f"%modal_gpu use T4 --session full --detach --keep-warm 60s\nover = {str(over)!r}").ok
    assert one.remote("over", "").ok
    assert 0.8 * LINES * LENGTH > 1.05 * QUEUE_PARTITION_BYTES
    wait_until(lambda: ended_runs(user) == 1)
    one.send(f"%%modal_gpu\nprint('begun')\n{CELL}")
    until = time.monotonic() + SOON
    while not any("begun" in message.text for message in one.listen(0.05)):
        assert time.monotonic() < until
    os.kill(pid_of(one), signal.SIGSTOP)  # nobody reads the queue
    try:
        while not over.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        wait_until(lambda: ended_runs(user) == 2)  # the container has put all that it puts
        assert int(two.run(ROOM).value()) <= MOST_ROOM
        attached = two.run("%modal_gpu attach full", timeout=SOON)
    finally:
        os.kill(pid_of(one), signal.SIGCONT)
    assert attached.ok, attached.error
    printed = attached.stdout.removeprefix("begun\n")
    assert printed.count("\n") == LINES
    assert f"'{hashlib.sha256(printed.encode()).hexdigest()}'" == attached.value()


def test_the_kernel_that_reads_again_has_all_of_it_too(user: User) -> None:
    """No other kernel comes: what the queue did not take is read from the log."""
    one, over = user.kernel(), user.home / "over-again"
    assert one.run(f"%modal_gpu use T4 --session again --detach --keep-warm 60s\nover = {str(over)!r}").ok
    assert one.remote("over", "").ok
    shown: list[str] = []
    sent = one.send(f"%%modal_gpu\nprint('begun')\n{CELL}")
    until = time.monotonic() + SOON

    def follow() -> list[str]:
        states = []
        for message in one.listen(0.05):
            if message.parent != sent:
                continue
            if message.kind == "clear_output":  # the dashboard opens above the output, which is shown again
                shown.clear()
            elif message.kind == "stream" and not message.ours:
                shown.append(message.content["text"])
            elif message.kind == "status":
                states.append(message.content["execution_state"])
        return states

    while not any("begun" in text for text in shown):
        assert time.monotonic() < until
        follow()
    os.kill(pid_of(one), signal.SIGSTOP)
    try:
        while not over.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        os.kill(pid_of(one), signal.SIGCONT)
    while "idle" not in follow():
        assert time.monotonic() < until
    printed = "".join(shown).removeprefix("begun\n")
    assert printed.count("\n") == LINES
    assert one.print("made") == hashlib.sha256(printed.encode()).hexdigest()
