"""A stop at any moment of a remote cell: both sides agree on one of two outcomes, and the prompt comes back soon."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.cloud.gates import AT_START, Gates
from tests.e2e.detached_user import wait_until
from tests.e2e.kernel import Kernel, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROMPT: Final = 20.0
"""Seconds from a stop to the prompt where the cell has not begun: two, and what a busy machine adds. What a test holds
up is held up until the prompt is back."""


SETUP: Final = """
import os, pathlib, time
hooks, kernel_pid = {hooks!r}, os.getpid()

def hold(moment):
    place = "here" if os.getpid() == kernel_pid else "there"
    flag = pathlib.Path(hooks, moment + "-" + place)
    if flag.exists():
        pathlib.Path(str(flag) + ".reached").touch()
        while flag.exists():
            time.sleep(0.01)

class Slow:
    def __init__(self):
        self.items = []
    def __getstate__(self):
        hold("reading")
        return dict(self.__dict__)
    def __setstate__(self, state):
        hold("making")
        self.__dict__.update(state)

slow, items, count = Slow(), [], 0
slow.items = items
for name in ("fresh", "extra", "big"):
    globals().pop(name, None)
"""


@dataclass
class Stage:
    """A kernel whose control plane has gates, and values whose reading and making can be held."""

    kernel: Kernel
    gates: Gates
    hooks: Path
    pressed_at: list[float] = field(default_factory=list)

    def stop(self, source: str, when: Callable[[], bool], then: Callable[[], object] = lambda: None) -> Result:
        """Run a remote cell and press \u25a0 as soon as `when` holds. `then` is asked after that until it is true."""

        def press() -> bool:
            if not when():
                return False
            self.pressed_at.append(time.monotonic())
            return True

        def after() -> bool:
            then()
            return False  # no second press

        return self.kernel.remote(source, "T4", press=[press, after])

    def wait_for_cancel(self) -> None:
        """Wait until the stop has arrived at Modal, which follows by itself."""
        wait_until(lambda: self.gates.passed("FunctionCallCancel"))

    def reached(self, moment: str) -> bool:
        return (self.hooks / f"{moment}.reached").exists()

    def hold(self, moment: str) -> None:
        """Hold values at a moment: `reading-here`, `making-there`, …."""
        (self.hooks / f"{moment}.reached").unlink(missing_ok=True)
        (self.hooks / moment).touch()

    def release(self, moment: str) -> None:
        (self.hooks / moment).unlink(missing_ok=True)

    @property
    def waited(self) -> float:
        """Seconds since the press."""
        return time.monotonic() - self.pressed_at[-1]

    def agree(self, expression: str) -> str:
        """The value of an expression, which must be the same on both sides."""
        there = self.kernel.remote(f"print(({expression}))", "T4")
        assert there.ok, there.error
        here = self.kernel.print(f"({expression})")
        assert there.stdout.rstrip("\n") == here
        again = self.kernel.remote(f"print(({expression}))", "T4")
        assert again.stdout.rstrip("\n") == here
        return here


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    hooks, gates = tmp_path_factory.mktemp("hooks"), tmp_path_factory.mktemp("gates")
    with Kernel(env={"PYTHONPATH": str(AT_START), "TEST_GATES": str(gates)}) as kernel:
        kernel.load()
        yield Stage(kernel, Gates(gates), hooks)


@pytest.fixture
def stage(staged: Stage) -> Iterator[Stage]:
    """The same kernel with fresh values, that both sides have."""
    assert staged.kernel.run(SETUP.format(hooks=str(staged.hooks))).ok
    warm = staged.kernel.remote("import time\nslow, items, count = slow, items, count\nlen(items)", "T4")
    assert warm.ok, warm.error
    yield staged
    for file in (*staged.hooks.iterdir(), *staged.gates.folder.iterdir()):
        file.unlink()


CELL: Final = "items.append('ran')\ncount += 1\nfresh = slow\ntime.sleep(0.2)"


def assert_one_line(result: Result) -> None:
    """The stop is said in one line, without a frame of ours."""
    assert result.reply.get("ename") == "KeyboardInterrupt", result.error
    assert result.traceback.strip().count("\n") == 0, result.traceback
    assert "modal_gpu_magic" not in result.traceback


def assert_never_ran(stage: Stage, result: Result) -> None:
    assert_one_line(result)
    assert stage.agree("items, count, slow.items is items, 'fresh' in globals()") == "([], 0, True, False)"


def assert_one_of_two(stage: Stage, result: Result) -> None:
    """The cell ran up to a line, or not at all; if it ran after all, the next cell has said so."""
    assert_one_line(result)
    next_one = stage.kernel.remote("pass", "T4")
    outcome = stage.agree("items, count, slow.items is items, 'fresh' in globals()")
    assert outcome in ("([], 0, True, False)", "(['ran'], 1, True, True)")
    assert ("had begun" in next_one.said) == ("ran" in outcome)


def unheard(stage: Stage, source: str) -> Result:
    """A cell that is stopped while it runs, and of which nothing is heard before the prompt is back."""
    for gate in ("QueuePut", "QueueGet"):
        stage.gates.close(gate)
    marker = stage.hooks / "running"
    lines = f"import pathlib\n{source}\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(600)"
    result = stage.stop(lines, marker.exists)
    assert stage.waited < PROMPT
    assert marker.exists()
    for gate in ("QueuePut", "QueueGet"):
        stage.gates.open(gate)
    return result


def test_while_a_value_is_read_here(stage: Stage) -> None:
    stage.hold("reading-here")
    result = stage.stop("items.append('ran')\nslow", lambda: stage.reached("reading-here"))
    assert stage.waited < PROMPT
    stage.release("reading-here")
    assert "did not run" in result.error
    assert_never_ran(stage, result)


def test_while_the_spawn_is_slow(stage: Stage) -> None:
    stage.gates.close("FunctionMap")
    result = stage.stop(CELL, lambda: stage.gates.reached("FunctionMap"))
    assert stage.waited < PROMPT
    stage.gates.forget("FunctionCallCancel")
    stage.gates.open("FunctionMap")
    assert_one_of_two(stage, result)
    stage.wait_for_cancel()


def test_a_slow_spawn_and_a_second_press(stage: Stage) -> None:
    stage.gates.close("FunctionMap")
    reached = lambda: stage.gates.reached("FunctionMap")  # noqa: E731
    result = stage.kernel.remote(CELL, "T4", press=[reached, 0.2])
    assert_one_line(result)
    stage.gates.open("FunctionMap")
    assert_one_of_two(stage, result)


def test_while_a_value_is_made_there(stage: Stage) -> None:
    stage.kernel.run("slow.items.append('new')\nextra = Slow()")
    stage.hold("making-there")
    stage.gates.forget("FunctionCallCancel")

    def release() -> bool:
        if stage.gates.passed("FunctionCallCancel"):
            stage.release("making-there")
        return True

    result = stage.stop("slow.items.append('ran')\nfresh = extra", lambda: stage.reached("making-there"), release)
    stage.wait_for_cancel()
    stage.release("making-there")
    outcome = stage.agree("items, slow.items is items, 'fresh' in globals()")
    assert outcome == ("(['new', 'ran'], True, True)" if result.ok else "(['new'], True, False)")


def test_while_values_are_collected_there(stage: Stage) -> None:
    stage.hold("reading-there")
    stage.gates.forget("FunctionCallCancel")

    def release() -> bool:
        if stage.gates.passed("FunctionCallCancel"):
            stage.release("reading-there")
        return True

    stage.stop(CELL, lambda: stage.reached("reading-there"), release)
    stage.wait_for_cancel()
    stage.release("reading-there")
    assert stage.agree("items, count, slow.items is items, fresh is slow") == "(['ran'], 1, True, True)"


def test_while_the_answer_travels(stage: Stage) -> None:
    stage.gates.close("FunctionPutOutputs")
    stage.gates.forget("FunctionCallCancel")

    def release() -> bool:
        if stage.gates.passed("FunctionCallCancel"):
            stage.gates.open("FunctionPutOutputs")
        return True

    stage.stop(CELL, lambda: stage.gates.reached("FunctionPutOutputs"), release)
    assert stage.waited < PROMPT
    stage.wait_for_cancel()
    stage.gates.open("FunctionPutOutputs")
    assert stage.agree("items, count, slow.items is items, fresh is slow") == "(['ran'], 1, True, True)"


def test_while_nothing_is_heard_of_the_cell(stage: Stage) -> None:
    """It runs, and is stopped, but no event and no answer of it comes here: the next cell finds out."""
    result = unheard(stage, "items.append('ran')\ncount += 1\nfresh = slow")
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert stage.agree("items, count, slow.items is items, fresh is slow") == "(['ran'], 1, True, True)"


def test_while_values_are_written_here(stage: Stage) -> None:
    stage.hold("making-here")
    result = stage.stop(
        f"{CELL}\nslow.items = items\nother = Slow()",
        lambda: stage.reached("making-here"),
        lambda: stage.release("making-here"),
    )
    assert_one_line(result)
    assert "had ended" in result.error
    assert stage.agree("items, count, slow.items is items, fresh is slow") == "(['ran'], 1, True, True)"


def test_a_fetch(stage: Stage) -> None:
    made = stage.kernel.remote("big = Slow()\nbig.items = items\nbig.rest = bytes(10_000)", "T4 --fetch 1kB")
    assert made.ok, made.error
    stage.gates.close("FunctionPutOutputs")
    result = stage.kernel.run("got = big.fetch()", press=[lambda: stage.gates.reached("FunctionPutOutputs")])
    assert result.reply.get("ename") == "KeyboardInterrupt"
    stage.gates.open("FunctionPutOutputs")
    assert stage.kernel.remote("big.items.append('there')", "T4 --fetch 1kB").ok
    assert stage.kernel.run("big = big.fetch()").ok
    assert stage.agree("items, big.items is items, len(big.rest)") == "(['there'], True, 10000)"


def test_what_is_bound_here_after_the_stop_is_newer(stage: Stage) -> None:
    unheard(stage, "items.append('ran')\ncount = 5\nfresh = 1")
    assert stage.kernel.run("count = 7").ok
    assert stage.agree("items, count, fresh") == "(['ran'], 7, 1)"


def test_a_fetch_also_finds_out(stage: Stage) -> None:
    stage.kernel.remote("big = Slow()\nbig.items = items\nbig.rest = bytes(10_000)", "T4 --fetch 1kB")
    unheard(stage, "big.items.append('ran')\ncount = 5")
    assert stage.kernel.run("big = big.fetch()").ok
    assert stage.agree("items, big.items is items, count") == "(['ran'], True, 5)"


def test_the_session_goes_on_with_a_new_machine(stage: Stage) -> None:
    """Nothing is asked of a container that is gone."""
    unheard(stage, "items.append('ran')")
    assert stage.kernel.run("%modal_gpu stop").ok
    assert stage.kernel.remote("print(items, count)", "T4").stdout == f"{stage.kernel.print('items')} 0\n"


PRESSES_ITSELF: Final = """
import os, signal, threading
pauses, timers = [], []
magics = get_ipython().magics_manager.magics["cell"]
def pressed(line, cell, magic=magics["modal_gpu"]):
    if pauses:
        timers.append(threading.Timer(pauses.pop(), os.kill, (os.getpid(), signal.SIGINT)))
        timers[-1].start()
    return magic(line, cell)
magics["modal_gpu"] = pressed
"""
"""The kernel presses once the magic has begun: ipykernel loses a request in whose dispatch a press comes."""


def test_a_press_before_anything_of_the_first_cell(tmp_path: Path) -> None:
    """The kernel is fresh: what is loaded for the first cell is loaded when the press comes."""
    with Kernel() as kernel:
        kernel.load()
        assert kernel.run(PRESSES_ITSELF).ok
        for pause in (0.005, 0.02, 0.05):
            assert kernel.run(f"pauses.append({pause})").ok
            result = kernel.remote("import time\ntime.sleep(600)", "T4")
            assert kernel.run("timers[-1].join()").ok
            assert result.reply.get("ename") == "KeyboardInterrupt", result.error
            assert "modal_gpu_magic" not in result.traceback
            if "time.sleep" not in result.traceback:  # a late press stops the cell itself
                assert_one_line(result)
        assert kernel.remote("print('next')", "T4").stdout == "next\n"
