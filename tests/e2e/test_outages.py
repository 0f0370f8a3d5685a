"""A cloud that fails while a cell runs: the cell goes on, and its output and result are complete when the cloud is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from tests.cloud.gates import AT_START, Gates
from tests.e2e.kernel import Kernel

SOON: Final = 90.0


@dataclass
class Cloud:
    """A kernel whose control plane can fail."""

    kernel: Kernel
    gates: Gates
    flags: Path
    """A folder that cells of the test see."""

    def meanwhile(self, *steps: Callable[[], object]) -> threading.Thread:
        """Do these in a thread, one after the other."""

        def do() -> None:
            for step in steps:
                step()

        thread = threading.Thread(target=do, daemon=True)
        thread.start()
        return thread

    def when(self, condition: Callable[[], bool]) -> Callable[[], None]:
        """Wait until a condition holds."""

        def wait() -> None:
            until = time.monotonic() + SOON
            while not condition() and time.monotonic() < until:
                time.sleep(0.02)

        return wait


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    gates = tmp_path_factory.mktemp("gates")
    with Kernel(env={"PYTHONPATH": str(AT_START), "TEST_GATES": str(gates)}) as kernel:
        kernel.load()
        yield Cloud(kernel, Gates(gates), gates)


@pytest.fixture
def cloud(failing: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    flags = tmp_path_factory.mktemp("flags")
    assert failing.kernel.run(f"import pathlib, time\nflags = pathlib.Path({str(flags)!r})\ncount = 0").ok
    warm = failing.kernel.remote("import pathlib, time\nflags = flags\ncount = count", "T4")
    assert warm.ok, warm.error
    yield replace(failing, flags=flags)
    for file in failing.gates.folder.iterdir():
        file.unlink()


CELL: Final = """
count += 1
for number in range(6):
    print("line", number, flush=True)
    if number == 2:
        (flags / "half").touch()
        while not (flags / "go").exists():
            time.sleep(0.01)
(flags / "over").touch()
count * 10
"""
LINES: Final = "".join(f"line {number}\n" for number in range(6))


@pytest.mark.parametrize("status", ["UNAVAILABLE", "INTERNAL", "CANCELLED", "RESOURCE_EXHAUSTED"])
@pytest.mark.parametrize("names", [("QueueGet",), ("FunctionGetOutputs",), ("*",)], ids=lambda names: names[0])
def test_what_fails_in_mid_run_is_asked_again(cloud: Cloud, names: tuple[str, ...], status: str) -> None:
    flags = cloud.flags
    cloud.meanwhile(
        cloud.when((flags / "half").exists),
        lambda: cloud.gates.fail(*names, status=status),
        cloud.when(lambda: cloud.gates.failed(names[0]) > 4),
        (flags / "go").touch,
        cloud.when((flags / "over").exists),
        lambda: cloud.gates.mend(*names),
    )
    result = cloud.kernel.remote(CELL, "T4", timeout=120)
    assert result.ok, result.error
    assert (result.stdout, result.value()) == (LINES, "10")
    assert cloud.kernel.print("count") == "1"


def test_a_queue_that_modal_has_ended_costs_no_output(cloud: Cloud) -> None:
    flags = cloud.flags
    cloud.meanwhile(
        cloud.when((flags / "half").exists),
        lambda: cloud.gates.fail("QueueGet", status="NOT_FOUND"),
        cloud.when(lambda: cloud.gates.failed("QueueGet") > 0),
        (flags / "go").touch,
    )
    result = cloud.kernel.remote(CELL, "T4", timeout=120)
    assert result.ok, result.error
    assert (result.stdout, result.value()) == (LINES, "10")
    cloud.gates.mend("QueueGet")
    assert cloud.kernel.remote("count", "T4").value() == "1"


def test_a_spawn_whose_answer_is_lost_runs_once(cloud: Cloud) -> None:
    flags = cloud.flags
    cloud.gates.fail("FunctionMap")
    cloud.meanwhile(cloud.when(lambda: cloud.gates.failed("FunctionMap") > 4), lambda: cloud.gates.mend("FunctionMap"))
    (flags / "go").touch()
    result = cloud.kernel.remote(CELL, "T4", timeout=120)
    assert result.ok, result.error
    assert (result.stdout, result.value()) == (LINES, "10")
    assert cloud.kernel.remote("count", "T4").value() == "1"


def test_a_run_is_given_up_and_the_next_cell_says_what_it_did(cloud: Cloud) -> None:
    flags = cloud.flags
    assert cloud.kernel.run("%config ModalGpu.patience = 1.0").ok
    cloud.meanwhile(cloud.when((flags / "half").exists), lambda: cloud.gates.fail("*"))
    given_up = cloud.kernel.remote(CELL, "T4", timeout=120)
    assert "the connection to Modal was lost for 1 s" in given_up.error
    assert "sdk/" not in given_up.traceback
    cloud.gates.mend("*")
    (flags / "go").touch()
    after = cloud.kernel.remote("count", "T4", timeout=120)
    assert (after.value(), cloud.kernel.print("count")) == ("1", "1")
    assert cloud.kernel.run("%config ModalGpu.patience = 600.0").ok


def test_a_stop_during_an_outage_follows_by_itself(cloud: Cloud) -> None:
    flags = cloud.flags
    pressed = threading.Event()

    def is_cut() -> bool:
        if cloud.gates.failed("*") > 2:
            pressed.set()
        return pressed.is_set()

    cloud.meanwhile(
        cloud.when((flags / "half").exists),
        lambda: cloud.gates.fail("*"),
        pressed.wait,
        cloud.when(lambda: cloud.gates.failed("*") > 8),
        lambda: cloud.gates.mend("*"),
    )
    result = cloud.kernel.remote(CELL, "T4", press=[is_cut], timeout=120)
    assert "KeyboardInterrupt" in result.error
    assert cloud.kernel.remote("count", "T4").value() == cloud.kernel.print("count")
