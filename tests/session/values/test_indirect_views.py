"""Arrays that numpy makes through another object share their memory on both sides, as natively."""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

SETUP: Final = """
import numpy as np
strided = np.lib.stride_tricks.as_strided
windows = np.lib.stride_tricks.sliding_window_view
x = np.arange(10.0)
"""

CASES: Final = {
    "windows": ("w = windows(x, 3)", "x[1] += 50", "w"),
    "windows to write to": ("w = windows(x, 3, writeable=True)", "w[0, 1] += 50", "w"),
    "windows over a view": ("y = x[2:]; w = windows(y, 3)", "y[1] += 50", "w"),
    "windows over two axes": ("x = np.zeros((4, 4)); w = windows(x, (2, 2))", "x[1, 1] += 50", "w"),
    "windows over windows": ("w = windows(windows(x, 4), 2, axis=1)", "x[3] += 50", "w"),
    "steps": ("w = strided(x, (4, 2), (16, 8))", "w[1, 1] += 50", "w"),
    "repeated": ("w = strided(x, (3, 2), (0, 8))", "x[1] += 50", "w"),
    "backwards": ("w = strided(x[9:], (5,), (-16,))", "w[1] += 50", "w"),
    "large": ("x = np.zeros(20_000); w = windows(x, 3)", "x[1] += 50", "w[:4]"),
    "memory view": ("w = np.asarray(memoryview(x))", "w[1] += 50", "w"),
    "part of a memory view": ("w = np.frombuffer(memoryview(x)[2:], x.dtype)", "w[1] += 50", "w"),
}
"""Statements that make the view, and change it or its array; the expression that shows the view."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "order", [(True, False, True), (False, True, True, False)], ids=["remote first", "native first"]
)
def test_a_change_is_seen_in_the_same_cell(case: str, order: tuple[bool, ...]) -> None:
    made, change, shown = CASES[case]
    show = f"seen = ({shown}.tolist(), x[:10].tolist(), w.flags.writeable)"
    memories = TwoMemories()
    memories.native(SETUP)
    memories.native(made)
    memories.remote(show)
    for remotely in order:
        act, look = (memories.remote, memories.native) if remotely else (memories.native, memories.remote)
        act(f"{change}\n{show}")
        assert (memories.there if remotely else memories.here)["seen"] == memories.model["seen"]
        look(show)
        assert (memories.here if remotely else memories.there)["seen"] == memories.model["seen"]
