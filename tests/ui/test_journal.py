"""What a cell put out is kept up to a limit, and what it took back is not."""

from __future__ import annotations

from functools import partial

from modal_gpu_magic.ui.journal import Journal


def _again(journal: Journal) -> list[str] | None:
    if journal.acts is None:
        return None
    for act in journal.acts:
        act()
    return said


said: list[str] = []


def test_it_is_put_out_again_in_order_until_it_is_too_much() -> None:
    said.clear()
    journal = Journal(most=10)
    for text in ("one", "two"):
        journal.add(partial(said.append, text), len(text))
    assert _again(journal) == ["one", "two"]
    journal.add(partial(said.append, "three"), 5)
    assert (_again(journal), journal.size) == (None, 11)


def test_what_was_taken_back_is_forgotten() -> None:
    said.clear()
    journal = Journal(most=10)
    journal.add(partial(said.append, "much"), 100)
    journal.clear()
    journal.add(partial(said.append, "kept"), 4)
    assert _again(journal) == ["kept"]
