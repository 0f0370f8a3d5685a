"""A kernel whose thread that waits for the control plane's end does not run for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.detached_user import wait_until

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

LATE = """
import os, time
from modal_gpu_magic.sdk.client import Backend
watch = Backend.watch
def watch_late(backend):
    os.waitid(os.P_PID, backend.process.pid, os.WEXITED | os.WNOWAIT)
    time.sleep(20)
    watch(backend)
Backend.watch = watch_late
"""


def test_the_next_cell_starts_another_control_plane(fresh: Kernel) -> None:
    assert fresh.run(LATE).ok
    assert fresh.remote("there = 5", "T4").ok
    (server,) = [p for p in fresh.processes() if p.cmdline()[1:3] == ["-m", "modal_gpu_magic.control_plane"]]
    server.kill()
    ended = f"os.waitid(os.P_PID, {server.pid}, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None"
    wait_until(lambda: fresh.print(ended) == "True")
    after = fresh.remote("there", "T4")
    assert after.value() == "5", after.traceback
    assert "The local control plane has ended; a new one is started." in after.said
