"""Background cells behind one that was cancelled while it waited for a GPU: the notebook goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.cloud.gates import Gates
from tests.e2e.kernel import Kernel

WAITING = "FunctionGetInputs"
SOON = 90.0


@pytest.fixture
def kernel(gated: Kernel, gates: Gates) -> Kernel:
    """A kernel with two background cells; the first one waits for its container, and is cancelled."""
    gates.close(WAITING)
    assert gated.remote("1 + 1", "T4 --bg first").ok
    _wait(lambda: gates.reached(WAITING))
    assert gated.remote("2 + 2", "T4 --bg second").ok
    assert gated.run("first.cancel()").ok
    _wait(lambda: gated.print("first.done()") == "True")
    return gated


def _wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_notebook_goes_on_while_the_next_cell_waits(kernel: Kernel, gates: Gates) -> None:
    for _ in range(3):
        assert kernel.run("6 * 7").value() == "42"
    assert kernel.print("second.done()") == "False"
    gates.open(WAITING)
    assert kernel.run("second.result()").value() == "4"


def test_a_press_ends_the_wait_of_a_cell_behind_them(kernel: Kernel, gates: Gates) -> None:
    stopped = kernel.remote("3 + 3", "T4", press=["waits for second"])
    assert stopped.error.startswith("KeyboardInterrupt: stopped while the cell waited for second")
    gates.open(WAITING)
    assert kernel.remote("3 + 3", "T4").value() == "6"
    assert kernel.run("second.result()").value() == "4"


def test_the_next_cell_can_be_cancelled_as_well(kernel: Kernel, gates: Gates) -> None:
    assert kernel.run("second.cancel()").ok
    assert kernel.run("second.result()").error.startswith("KeyboardInterrupt: cancelled before the cell ran")
    gates.open(WAITING)
    assert kernel.remote("3 + 3", "T4 --bg third").ok
    assert kernel.run("third.result()").value() == "6"


def test_a_stop_of_the_session_ends_the_cell_that_waits(kernel: Kernel, gates: Gates) -> None:
    assert kernel.run("%modal_gpu stop").ok
    assert "the session was stopped before the cell ran" in kernel.run("second.result()").error
    gates.open(WAITING)
    assert kernel.remote("3 + 3", "T4").value() == "6"
    assert kernel.print("second.done()") == "True"
