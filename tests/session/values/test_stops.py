"""Random notebooks whose cells are stopped at random lines have what the same cells have in one process.

A cell that is stopped ran up to a line in both memories, or in none.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

import pytest

from tests.session.same_graph import compare
from tests.session.stopped_memories import NEVER, Stop, StoppedMemories
from tests.session.values.test_one_memory import SETUP, cell

PARTS: Final = ("reading", "arriving", "running", "leaving", "coming home", "fetching")
STEPS: Final = 60


def chosen(choose: random.Random) -> Stop:
    """A stop at a random line of a random part; every third cell is not stopped."""
    if not choose.randrange(3):
        return NEVER
    part = choose.choice(PARTS)
    most = 8 if part == "running" else choose.choice([30, 300, 3000])
    return Stop(part, choose.randint(1, most), loses=not choose.randrange(3))


def play(seed: int, fetch_bytes: int, statements: tuple[int, ...] = (1, 1, 3)) -> Counter[str]:
    choose = random.Random(seed)
    notebook = StoppedMemories(fetch_bytes)
    notebook.native(SETUP)
    history = [SETUP]
    for _ in range(STEPS):
        source = "\n".join(cell(choose, notebook.model) for _ in range(choose.choice(statements)))
        where = choose.choice(["native", "remote", "remote"])
        notebook.stop = chosen(choose)
        history.append(f"{where}, {notebook.stop}: {source}")
        try:
            if where == "native":
                notebook.fetch_all()
            getattr(notebook, where)(source)
            if not choose.randrange(3):
                notebook.fetch_all()
                compare(notebook.model, notebook.here, notebook.user_names())
        except Exception as error:
            error.add_note("\n".join(history)) if hasattr(error, "add_note") else None
            raise
    notebook.stop = NEVER
    notebook.fetch_all()
    compare(notebook.model, notebook.here, notebook.user_names())
    return Counter(notebook.outcomes)


@pytest.mark.parametrize("seed", range(40))
def test_a_stopped_notebook_has_one_memory(seed: int) -> None:
    play(seed, 1 << 30)


@pytest.mark.parametrize("seed", range(100, 125))
def test_also_where_values_stay(seed: int) -> None:
    play(seed, 300)


def test_stops_strike() -> None:
    """The stops of the tests above do end cells: before they are sent, and while they run."""
    outcomes = sum((play(seed, 1 << 30) for seed in range(5)), Counter[str]())
    assert outcomes["not sent"] > 5
    assert outcomes["KeyboardInterrupt"] > 5
