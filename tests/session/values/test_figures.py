"""Figures that cells draw on and read: a figure that no cell has changed does not cross again."""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

SETUP: Final = """
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot as plt
figure, axes = plt.subplots()
line, = axes.plot([1, 2], [3, 4], label="a")
axes.set(title="t", xlabel="x"); axes.legend(); plt.close(figure)
"""

READS: Final = {
    "nothing": "figure, axes; None",
    "its lines": "seen = [list(each.get_ydata()) for each in axes.lines]",
    "its size": "seen = list(figure.get_size_inches())",
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_one_that_is_only_read_crosses_once(read: str) -> None:
    memories = TwoMemories()
    memories.native(SETUP)
    for _ in range(3):
        memories.remote(read)
    assert memories.sent[0] != ()
    assert memories.sent[1:] == [(), ()]


def test_what_is_drawn_on_either_side_is_seen_on_the_other() -> None:
    memories = TwoMemories()
    memories.native(SETUP)
    memories.remote("more, = axes.plot([5]); line.set_ydata([6, 7])")
    memories.native("axes.lines[1].set_ydata([8]); seen = [list(each.get_ydata()) for each in axes.lines]")
    assert memories.here["seen"] == memories.model["seen"]
    memories.remote(
        "seen = [list(each.get_ydata()) for each in axes.lines], axes.lines[1] is more, figure.axes[0] is axes"
    )
    assert memories.there["seen"] == memories.model["seen"]


def test_callbacks_connected_after_a_crossing_have_numbers_of_their_own() -> None:
    memories = TwoMemories()
    memories.native(SETUP)
    connect = "numbers.append(axes.callbacks.connect('xlim_changed', print))"
    memories.native(f"numbers = []; {connect}")
    memories.remote(connect)
    memories.native(connect)
    memories.remote("seen = len(set(numbers))")
    assert memories.there["seen"] == 3
