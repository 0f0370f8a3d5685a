"""Random native cells beside a cell that runs in the container leave two memories that agree again."""

from __future__ import annotations

import random
import re
from typing import Any, Final

import pytest

from tests.session.memories_beside import MemoriesBeside, run_cell
from tests.session.same_graph import compare
from tests.session.values.test_one_memory import SETUP, cell

STEPS: Final = 30
THERE, HERE = "abc", "def"


def play(seed: int, fetch_bytes: int) -> tuple[int, int]:
    """Play a notebook; return how many names kept the notebook's value, and how many lost the notebook's changes."""
    choose = random.Random(seed)
    notebook = MemoriesBeside(fetch_bytes)
    notebook.native(SETUP)
    history, kept, overwritten = [SETUP], 0, 0
    try:
        for _ in range(STEPS):
            source = "\n".join(cell(choose, notebook.here) for _ in range(choose.choice([1, 1, 3])))
            notebook.fetch_all()
            natives = [cell(choose, notebook.here) for _ in range(choose.randrange(4))]
            history += [f"beside: {source}", *natives]
            names = notebook.beside(source, natives)
            kept += len(names)
            assert all(not names or names & set(notebook.lost) for names in notebook.overwritten)
            overwritten += len(notebook.overwritten)
            notebook.fetch_all()
            if not natives:
                assert not names
                assert notebook.lost_without_classes == ()
            if not choose.randrange(3):
                history.append("agree")
                notebook.agree()
                compare(notebook.here, notebook.there, notebook.names)
    except Exception as error:
        error.add_note("\n".join(history)) if hasattr(error, "add_note") else None
        raise
    notebook.agree()
    compare(notebook.here, notebook.there, notebook.names)
    return kept, overwritten


@pytest.mark.parametrize("seed", range(20))
def test_both_memories_agree_after_cells_beside_one_another(seed: int) -> None:
    play(seed, 1 << 30)


@pytest.mark.parametrize("seed", range(100, 110))
def test_also_where_values_stay(seed: int) -> None:
    play(seed, 300)


def cell_of(names: str, choose: random.Random, namespace: dict[str, Any]) -> str:
    """A statement on some of the names only."""
    renamed = dict(zip("abcdef", names * 2, strict=True))
    source = cell(choose, {**namespace, **{name: namespace[other] for name, other in renamed.items()}})
    return re.sub(r"\b[a-f]\b", lambda found: renamed[found[0]], source)


@pytest.mark.parametrize("seed", range(200, 215))
def test_cells_on_values_of_their_own_do_not_disturb_one_another(seed: int) -> None:
    choose = random.Random(seed)
    notebook = MemoriesBeside()
    notebook.native(SETUP)
    for _ in range(STEPS):
        source = "\n".join(cell_of(THERE, choose, notebook.here) for _ in range(choose.choice([1, 1, 3])))
        natives = [cell_of(HERE, choose, notebook.here) for _ in range(choose.randrange(4))]
        assert notebook.beside(source, natives) == ()
        assert notebook.lost_without_classes == ()
        for each in (source, *natives):
            run_cell(each, notebook.model)
        notebook.fetch_all()
        compare(notebook.model, notebook.here, notebook.user_names())


def test_names_are_kept_and_changes_are_lost() -> None:
    kept, overwritten = zip(*(play(seed, 1 << 30) for seed in range(10)), strict=True)
    assert sum(kept) > 5
    assert sum(overwritten) > 5
