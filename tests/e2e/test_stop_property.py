"""Random cells stopped at random moments: both sides have the values of a prefix of the cell's lines, or of none."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.cloud.gates import AT_START, Gates
from tests.e2e.kernel import Kernel
from tests.e2e.test_stop_any_moment import SETUP, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

BEFORE: Final = """
import numpy as np
big = np.zeros(400_000)
table = {}
pair = [items, items]
globals().pop("fresh", None), globals().pop("made", None)
"""

SEEN: Final = (
    "items, pair[0] is pair[1] is items is slow.items, len(table), float(big[0]), float(big[-1]), big.size, count, "
    "getattr(slow, 'n', 0), sorted(name for name in ('fresh', 'made') if name in globals())"
)
"""What of the values both sides must agree on."""

LINES: Final = {
    "big value in": ("big[0] += 1", "count = int(big[0])", "made = float(big.sum())"),
    "big value out": ("big = np.full(400_001, count + 2.0)", "big[-1] = 7", "count += 1"),
    "slow code": ("items.append('a')", "time.sleep(0.1)", "items.append('b')", "time.sleep(0.1)", "count += 1"),
    "shared objects": ("slow.items.append('c')", "pair[0].append('d')", "table[len(table)] = items", "slow.n += 1"),
    "bound and changed": ("fresh = []", "fresh.append(items)", "count += 10", "fresh[0].append('e')", "made = fresh"),
    "deleted": ("made = 1", "del made", "fresh = 2", "del fresh", "items.clear()"),
}
"""Statements of a cell, by its shape."""

MOMENTS: Final = (
    *("reading-here", "making-there", "reading-there", "making-here"),
    *("FunctionMap", "FunctionPutOutputs", "QueuePut", "line"),
)
"""When the stop comes: at a hook of a value, at a gate of the control plane, or at a line that the cell prints."""


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    hooks, gates = tmp_path_factory.mktemp("hooks"), tmp_path_factory.mktemp("gates")
    with Kernel(env={"PYTHONPATH": str(AT_START), "TEST_GATES": str(gates)}) as kernel:
        kernel.load()
        yield Stage(kernel, Gates(gates), hooks)


class Story:
    """What has been run so far, each cell as far as it ran; and what the values would be now."""

    def __init__(self, hooks: str) -> None:
        self.cells = [SETUP.format(hooks=hooks) + BEFORE]

    def seen(self, *lines: str) -> str:
        """What is seen after some lines more."""
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for source in (*self.cells, "\n".join(lines).replace("time.sleep", "id")):
            exec(source, namespace)
        return repr(eval(f"({SEEN})", namespace))

    def outcomes(self, lines: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        """How many of the lines may have run, by what is seen then."""
        found: dict[str, tuple[int, ...]] = {}
        for number in range(len(lines) + 1):
            seen = self.seen(*lines[:number])
            found[seen] = (*found.get(seen, ()), number)
        return found


@pytest.mark.parametrize("seed", range(4))
def test_both_sides_agree(staged: Stage, seed: int) -> None:
    choose = random.Random(seed)
    story = Story(str(staged.hooks))
    assert staged.kernel.run(story.cells[0]).ok
    history: list[str] = []
    moments = [*MOMENTS, *MOMENTS[-1:]]
    choose.shuffle(moments)
    for moment in moments:
        shape = choose.choice(list(LINES))
        lines = LINES[shape]
        before = f"slow.n = {choose.randrange(100)}\nslow.extra = Slow()"
        assert staged.kernel.run(before).ok
        story.cells.append(before)
        legal = story.outcomes(lines)
        text, error, said = stopped(staged, choose, moment, lines)
        seen = staged.agree(SEEN)
        history.append(f"{moment}, {shape}: {error or 'no error'}")
        assert seen in legal, "\n".join([*history, seen, "legal:", *legal])
        numbers = legal[seen]
        assert fits(error, numbers, len(lines)), (history, numbers, said)
        story.cells.append("\n".join(lines[: numbers[0]]))
        assert text.count("Traceback") <= 1


def stopped(stage: Stage, choose: random.Random, moment: str, lines: tuple[str, ...]) -> tuple[str, str, str]:
    """Run a cell of these lines, stopped at the moment; returns its traceback, its error, and what was said."""
    shown = choose.randrange(len(lines) + 1)
    printed = [*lines[:shown], "print('here', flush=True)", *lines[shown:]]
    source = "\n".join(["slow, items, pair, table, big, count", *printed])
    stage.gates.forget("FunctionCallCancel")
    if moment == "line":
        pressed = stage.hooks / "pressed"
        pressed.unlink(missing_ok=True)
        wait = f"while not os.path.exists({str(pressed)!r}): time.sleep(0.01)"

        def note_press() -> bool:
            pressed.touch()
            return False  # no second press

        result = stage.kernel.remote(f"{source}\n{wait}", "T4", press=["here", note_press])
    elif "-" in moment:
        stage.hold(moment)
        result = stage.stop(source, lambda: stage.reached(moment), lambda: _release(stage, moment))
        stage.release(moment)
    else:
        stage.gates.close(moment)
        result = stage.stop(source, lambda: stage.gates.reached(moment), lambda: _open(stage, moment))
        stage.gates.open(moment)
    return result.traceback, result.error, result.said


def _release(stage: Stage, moment: str) -> bool:
    """Values made or read here are released after the press, those there once the stop has arrived at Modal."""
    if moment.endswith("here") or stage.gates.passed("FunctionCallCancel"):
        stage.release(moment)
    return True


def _open(stage: Stage, gate: str) -> bool:
    if gate != "FunctionMap" and stage.gates.passed("FunctionCallCancel"):
        stage.gates.open(gate)
    return True


def fits(error: str, numbers: tuple[int, ...], most: int) -> bool:
    """Whether what is said fits how many lines have run."""
    if not error or "had ended" in error:
        return most in numbers
    return 0 in numbers if re.search("did not run", error) else True
