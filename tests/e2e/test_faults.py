"""What ends a cell from outside: each is a one-line error that names it, and the next cell works."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.detached_user import SESSION, wait_for, wait_until
from tests.e2e.kernel import command_of

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

GONE_WITHIN = 60.0
"""Seconds after the kernel's death within which nothing of ours is left."""

# Each case: what the cell does, the error's class, and words that its sentence must have.
DEATHS = {
    "exit code": ("import os\nos._exit(3)", "ContainerLost", ["exit code 3"]),
    "killed": ("import os\nos.kill(os.getpid(), 9)", "ContainerLost", ["SIGKILL", "memory", "--memory"]),
    "segmentation fault": ("import ctypes\nctypes.string_at(0)", "ContainerLost", ["SIGSEGV"]),
    "abort": ("import os\nos.abort()", "ContainerLost", ["SIGABRT"]),
    "terminated": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(600)",
        "ContainerLost",
        ["SIGTERM"],
    ),
    "killed by a thread": (
        "import os, threading\nthreading.Timer(0.3, os._exit, (5,)).start()\ntime.sleep(600)",
        "ContainerLost",
        ["exit code 5"],
    ),
}


@pytest.mark.parametrize(("source", "error", "words"), DEATHS.values(), ids=DEATHS.keys())
def test_a_death_is_named(kernel: Kernel, tmp_path: Path, source: str, error: str, words: list[str]) -> None:
    shown = tmp_path / "shown"
    wait = f"import os, time\nwhile not os.path.exists({str(shown)!r}): time.sleep(0.01)"
    result = kernel.remote(f"print('before', flush=True)\n{wait}\n{source}", when={"before\n": shown.touch})
    assert result.reply.get("ename") == error
    sentence = result.reply["evalue"]
    assert "\n" not in sentence
    assert [word for word in words if word not in sentence] == []
    assert result.stdout.startswith("before\n")
    assert kernel.remote("'next'").value() == "'next'"


def test_a_cell_that_dies_at_its_first_line_is_not_run_again(kernel: Kernel, tmp_path: Path) -> None:
    """The event that the cell has begun dies with the container; the mark in shared memory stays."""
    ran = tmp_path / "ran"
    result = kernel.remote(
        f"import os\nfile = os.open({str(ran)!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)\nos.write(file, b'once ')\nos._exit(3)"
    )
    assert result.reply.get("ename") == "ContainerLost"
    assert ran.read_text() == "once "


def test_a_segmentation_fault_shows_its_python_stack(kernel: Kernel) -> None:
    result = kernel.remote("import ctypes\n\ndef crash():\n    ctypes.string_at(0)\n\ncrash()")
    assert "Segmentation fault" in result.stderr
    assert "crash" in result.stderr


def test_more_memory_than_there_is_is_the_cell_s_own_error(kernel: Kernel) -> None:
    assert kernel.remote("bytearray(1 << 60)").reply.get("ename") == "MemoryError"


TIMEOUTS = {
    "sleep": "time.sleep(600)",
    "loop": "while True: pass",
    "swallows everything": "while True:\n    try: time.sleep(0.1)\n    except BaseException: pass",
}


@pytest.mark.parametrize("source", TIMEOUTS.values(), ids=TIMEOUTS.keys())
def test_a_timeout_is_held_and_named(kernel: Kernel, source: str) -> None:
    kernel.remote("import time")
    result = kernel.remote(f"set_before = 1\nprint('before', flush=True)\n{source}", "H100 --timeout 6")
    assert result.reply.get("ename") == "CellTimeout"
    assert "6 s" in result.reply["evalue"]
    assert "--timeout" in result.reply["evalue"]
    assert "\n" not in result.reply["evalue"]
    assert result.stdout == "before\n"
    assert kernel.remote("'next'").value() == "'next'"


def test_a_timeout_keeps_the_variables(kernel: Kernel) -> None:
    kernel.remote("import time, os\nhow_far = 0\npid = os.getpid()")
    kernel.remote("while True:\n    how_far += 1\n    time.sleep(0.2)", "H100 --timeout 6")
    assert int(kernel.print("how_far")) > 0
    assert kernel.remote("os.getpid() == pid").value() == "True"


def control_plane(kernel: Kernel) -> psutil.Process:
    """The server's process."""
    (server,) = [p for p in kernel.processes() if command_of(p)[1:3] == ["-m", "modal_gpu_magic.control_plane"]]
    return server


def test_a_lost_control_plane_is_named_and_replaced(kernel: Kernel) -> None:
    kernel.run("sent = 5")
    kernel.remote("import time\nthere = sent")
    server = control_plane(kernel)
    result = kernel.remote("print('before', flush=True)\ntime.sleep(600)", when={"before": server.kill})
    assert result.reply.get("ename") == "BackendLost"
    assert "\n" not in result.reply["evalue"]
    assert result.seconds < 60
    assert kernel.remote("sent, there").value() == "(5, 5)"


def test_a_control_plane_lost_between_cells(kernel: Kernel) -> None:
    kernel.remote("there = 5")
    control_plane(kernel).kill()
    wait_until(lambda: kernel.print(f"{SESSION.format('default')}._opening.app.backend.lost is None") == "False")
    assert kernel.remote("there").value() == "5"


def servers(kernel: Kernel) -> list[str]:
    """The names of its servers' directories."""
    return [path.name for path in (kernel.home / "run").iterdir()]


def alive(process: psutil.Process) -> bool:
    """Not one that has ended and only waits to be counted."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def left_of(kernel: Kernel, names: list[str]) -> list[str]:
    """What is left of a kernel: processes it started, directories of sockets and of buffers."""
    paths = [place / name for place in (kernel.home / "run", Path("/dev/shm")) for name in names]
    processes = [f"{process.pid} {' '.join(command_of(process))}" for process in kernel.processes() if alive(process)]
    return processes + [str(path) for path in paths if path.exists()]


def assert_nothing_is_left(kernel: Kernel, names: list[str]) -> None:
    end = time.monotonic() + GONE_WITHIN
    while left_of(kernel, names) and time.monotonic() < end:
        time.sleep(0.1)
    assert left_of(kernel, names) == []


@pytest.mark.parametrize("busy", [True, False], ids=["in a cell", "between cells"])
def test_a_killed_kernel_leaves_nothing(fresh: Kernel, busy: bool) -> None:
    fresh.remote("import subprocess, numpy as np\nbig = np.ones(1_000_000)\nchild = subprocess.Popen(['sleep', '600'])")
    pid, names = fresh.pid, servers(fresh)
    assert names
    assert len(fresh.processes()) >= 4, "the kernel, a control plane, a container and its child"
    if busy:
        fresh.send("%%modal_gpu\nimport time\nprint('runs')\ntime.sleep(600)")
        wait_for(fresh, "runs")
    os.kill(pid, signal.SIGKILL)
    assert_nothing_is_left(fresh, names)


def test_a_kernel_that_is_shut_down_leaves_nothing(fresh: Kernel) -> None:
    fresh.remote("import subprocess\nchild = subprocess.Popen(['sleep', '600'])")
    names = servers(fresh)
    fresh.shutdown()
    assert_nothing_is_left(fresh, names)


def test_a_restarted_kernel_starts_anew(fresh: Kernel) -> None:
    fresh.remote("old = 1")
    fresh.restart()
    fresh.load()
    assert fresh.remote("'old' in globals()").value() == "False"
