"""When a container began: by the control plane's word, else by the age of its process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from modal_gpu_magic.container.process.container_start import MOST_SECONDS, VARIABLE, began_at


def test_the_control_plane_says_when_on_the_clock_that_both_share() -> None:
    moment, now = time.monotonic(), time.time()
    environ = {VARIABLE: repr(moment - 5000), "HOME": "/root"}
    began = began_at(environ)
    later, then = time.time(), time.monotonic()
    assert now - (then - moment) - TICK <= began + 5000 <= later + TICK
    assert environ == {"HOME": "/root"}, "no cell sees it"


def test_elsewhere_the_process_is_as_old_as_its_container() -> None:
    source = (
        "import time; main = time.time(); time.sleep(1)\n"
        "from modal_gpu_magic.container.process.container_start import began_at\n"
        "asked = time.monotonic(); began = began_at({})\n"
        "print(began, main, time.monotonic() - asked)"
    )
    before = time.time()
    printed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    began, main, took = map(float, printed.split())  # the process may be stopped between its looks at two clocks
    assert before - took - TICK <= began <= main + TICK


TICK = 0.02
"""Two of the clock ticks, in seconds, in which Linux tells when a process started."""

IMPOSSIBLE = {
    "soon": lambda _: "soon",
    "later": lambda now: repr(now + 6000),
    "old": lambda now: repr(now - 2 * MOST_SECONDS),
}


@pytest.mark.parametrize("told", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_age_that_cannot_be_is_not_believed(told: Callable[[float], str]) -> None:
    before = time.time()
    began = began_at({VARIABLE: told(time.monotonic())})
    assert before <= began <= time.time()
