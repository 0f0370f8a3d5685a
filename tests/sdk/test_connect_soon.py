"""A connection that began while the cell was prepared: made once, failed once, and tried again by a later cell."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

BEGIN: Final = """
import sys, time
from modal_gpu_magic.sdk import client
"""
ONCE: Final = """
client.connect_soon("local", has_volume=True)
assert "modal" in sys.modules
waited = client.connect("local")
client.connect_soon("local")
assert client.connect("local") is waited and not client._attempts
import psutil
servers = [each for each in psutil.Process().children() if "modal_gpu_magic.control_plane" in each.cmdline()]
assert len(servers) == 1, servers
deadline = time.monotonic() + 90
while not waited.volume.id and time.monotonic() < deadline:
    time.sleep(0.01)
assert waited.volume.id
"""
REFUSED: Final = """
from modal_gpu_magic.errors import SetupError
client.CONNECT_SECONDS = 2
def fails():
    began = time.monotonic()
    try:
        client.connect("cloud")
    except SetupError as error:
        assert "Modal cannot be reached" in str(error), error
        return time.monotonic() - began
    raise AssertionError("connected")
client.connect_soon("cloud", has_volume=True)
attempt, = client._attempts.values()
fails()                     # waits for the attempt that was begun, and makes none of its own
assert attempt.done() and not client._attempts
asked = []
real = client._cloud
client._cloud = lambda: asked.append(1) or real()
fails()                     # a later cell tries again
assert asked == [1]
"""


def run(source: str, **environ: str) -> None:
    """Run a script in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + source], capture_output=True, text=True, env={**os.environ, **environ}
    )
    assert done.returncode == 0, done.stderr


def test_a_control_plane_is_started_once() -> None:
    run(ONCE)


def test_an_attempt_that_fails_is_the_next_cells_error_and_no_later_ones() -> None:
    token = {"MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
    run(REFUSED, MODAL_SERVER_URL="http://127.0.0.1:9", **token)
