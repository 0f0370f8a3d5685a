"""■: the first press stops the cell and keeps its variables, the second ends the container; the notebook goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.kernel import Kernel
from tests.e2e.slow_package import slow_package
from tests.e2e.test_stop_any_moment import PRESSES_ITSELF

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOON = 60.0
"""Seconds from the cell's start to its end that count as stopped soon on a busy machine."""
HINT = "Stop again"
"""Words of the hint that comes a while after a first press; another press counts from then on."""

FIRST_PRESS = {
    "sleep": "time.sleep(600)",
    "print loop": "while True: print('x' * 1000)",
    "python loop": "while True: pass",
    "matmul loop": "a = torch.randn(300, 300)\nwhile True: a = (a @ a) / a.norm()",
    "C call that lets go": "import ctypes\nctypes.CDLL(None).sleep(600)",
    "lock": "import threading\nlock = threading.Lock(); lock.acquire(); lock.acquire()",
    "queue": "import queue\nqueue.Queue().get()",
    "join": "import threading\nt = threading.Thread(target=time.sleep, args=(600,), daemon=True)\nt.start(); t.join()",
    "subprocess": "import subprocess\nsubprocess.run(['sleep', '600'])",
    "await": "import asyncio\nawait asyncio.sleep(600)",
    "timeit": "%timeit -n1 -r1000 time.sleep(0.5)",
    "select": "import select\nselect.select([], [], [], 600)",
}


class TestFirstPress:
    """One press: the cell ends with a KeyboardInterrupt of its own, what it had set stays, the container lives."""

    @pytest.fixture(autouse=True)
    def _started(self, kernel: Kernel) -> None:
        started = kernel.remote("import os, time, torch\nreached = 0\npid = os.getpid()")
        assert started.ok, started.error

    @pytest.mark.parametrize("source", FIRST_PRESS.values(), ids=FIRST_PRESS.keys())
    def test_it_stops_and_keeps_the_variables(self, kernel: Kernel, source: str) -> None:
        result = kernel.remote(f"reached += 1\nprint('ready', flush=True)\n{source}", press=["ready"])
        assert result.reply.get("ename") == "KeyboardInterrupt"
        assert result.seconds < SOON
        assert kernel.print("reached") == "1"
        assert kernel.remote("reached, os.getpid() == pid").value() == "(1, True)"

    def test_the_traceback_shows_where_it_was(self, kernel: Kernel, tmp_path: Path) -> None:
        source = f"def wait():\n    open({str(tmp_path / 'in')!r}, 'w').close()\n    time.sleep(600)\n\nwait()"
        result = kernel.remote(source, press=[((tmp_path / "in").exists, 0.5)])
        assert "wait()" in result.traceback
        assert "KeyboardInterrupt" in result.traceback

    def test_a_cell_that_catches_it_goes_on(self, kernel: Kernel) -> None:
        source = """
try:
    print("ready", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    caught = True
finally:
    cleaned = True
print("goes on")
"""
        result = kernel.remote(source, press=["ready"])
        assert result.stdout.endswith("goes on\n")
        assert result.seconds < SOON
        assert kernel.print("caught, cleaned") == "True True"

    def test_a_shell_command(self, kernel: Kernel) -> None:
        """As in IPython: the command is stopped, and the cell may go on."""
        result = kernel.remote("print('ready', flush=True)\n!sleep 600", press=["ready"])
        assert result.seconds < SOON

    def test_five_in_a_row(self, kernel: Kernel) -> None:
        for turn in range(5):
            result = kernel.remote(f"turn = {turn}\nprint('ready', flush=True)\ntime.sleep(600)", press=["ready"])
            assert result.reply.get("ename") == "KeyboardInterrupt"
            assert kernel.remote("turn, os.getpid() == pid").value() == f"({turn}, True)"

    def test_before_it_begins(self, kernel: Kernel) -> None:
        """Pressed at once: it never ran or was stopped, and either way the next cell works."""
        assert kernel.run(f"{PRESSES_ITSELF}\npauses.append(0.01)").ok
        result = kernel.remote("time.sleep(600)")
        assert kernel.run("timers[-1].join()").ok
        assert result.reply.get("ename") == "KeyboardInterrupt"
        assert result.seconds < SOON
        assert kernel.remote("'next'").value() == "'next'"


def test_it_stops_a_cell_that_asks_and_is_not_answered(kernel: Kernel) -> None:
    kernel.remote("reached = 'nowhere'")
    result = kernel.remote(
        "reached = 'the question'\ninput('name? ')\nreached = 'beyond'", press=["name? "], answers=[]
    )
    assert result.asked == ("name? ",)
    assert "KeyboardInterrupt" in result.error
    assert kernel.remote("reached").value() == "'the question'"


STUBBORN = {
    "C call that does not return": "sum(range(10**12))",  # it holds the GIL, so that nothing printed leaves either
    "swallows everything": "time.sleep(0.1)",
}
ENDLESS = """
import os, time
print("ready", flush=True)
while not os.path.exists({go!r}): time.sleep(0.01)
while True:
    try:
        open({begun!r}, "w").close()
        {call}
    except BaseException: pass
"""
"""A cell that no first press ends, once a file exists; another file says that it has begun."""


@pytest.mark.parametrize("source", STUBBORN.values(), ids=STUBBORN.keys())
def test_the_second_press_ends_the_container(fresh: Kernel, tmp_path: Path, source: str) -> None:
    go, begun = tmp_path / "go", tmp_path / "begun"
    fresh.remote("import time, os\nset_before = 1\npid = os.getpid()")
    cell = ENDLESS.format(go=str(go), begun=str(begun), call=source)
    result = fresh.remote(cell, press=[begun.exists, HINT], when={"ready": go.touch})
    assert not result.ok
    assert "KeyboardInterrupt" in result.error
    assert result.seconds < SOON
    assert fresh.remote("import os\nset_before, os.getpid() == pid").value() == "(1, False)"


def test_the_first_press_says_that_there_is_a_second(fresh: Kernel, tmp_path: Path) -> None:
    """Nothing happens for a while, so the person must learn what a second press does."""
    fresh.remote("import os, time")
    said = tmp_path / "said"
    source = (
        f"print('ready', flush=True)\nwhile not os.path.exists({str(said)!r}):\n"
        "    try: time.sleep(0.1)\n    except BaseException: pass"
    )
    result = fresh.remote(source, press=["ready"], when={HINT: said.touch})
    assert "again" in result.said or "second" in result.said, result.said


def test_while_the_machine_is_being_made(fresh: Kernel) -> None:
    """The first cell of a kernel starts a control plane and a container; ■ does not wait for them."""
    assert fresh.run(f"{PRESSES_ITSELF}\npauses.append(0.15)").ok
    result = fresh.remote("import time\ntime.sleep(600)\nprint('never')")
    assert fresh.run("timers[-1].join()").ok
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert result.stdout == ""
    assert fresh.remote("print('next')").stdout == "next\n"


def test_while_it_waits_for_a_gpu(fresh: Kernel) -> None:
    """What could become its container is frozen: the run waits, as it does when Modal has no GPU free."""
    fresh.remote("import os\nhere = 1", "H100")
    (server,) = [process for process in fresh.processes() if process.name() == "modal-forks"]
    server.suspend()
    result = fresh.remote("print('never')", "H100 --session other", press=["waiting"])
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert result.stdout == ""
    server.resume()
    assert fresh.remote("print('next')", "H100 --session other").stdout == "next\n"


@pytest.fixture
def building(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel for which a package exists that takes a minute to build."""
    with Kernel(env={"PIP_FIND_LINKS": slow_package(tmp_path)}) as kernel:
        kernel.load()
        yield kernel


def test_while_an_image_is_built(building: Kernel) -> None:
    result = building.remote("print('never')", "H100 --pip mg-slow", press=["building"])
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert result.stdout == ""
    assert building.remote("print('next')", "H100 --session other").stdout == "next\n"
