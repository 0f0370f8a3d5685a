"""Keys of the namespace that are no texts, on either side: a cell runs as it does natively, and they stay where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modal_gpu_magic import Session

KEYS: list[Any] = [5, None, (1, 2), b"x", 2.5, frozenset({1})]
CELLS = [
    "a = 1\na + 1",
    "globals()['b'] = 2\nglobals()['b']",
    "len([name for name in globals() if name == 'zzz'])",
    "def f():\n    return globals().get('a', 0)\nf()",
    "exec('c = 3')\nc",
    "eval('1 + 1')",
    "del a",
    "from math import *\npi > 3",
    "!echo hi",
    "1 / 0",
]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    started = Session(name="odd", backend="local")
    yield started
    started.stop()


def ran(session: Session, source: str) -> Any:
    try:
        return session.run(source)
    except Exception as error:  # noqa: BLE001 - the cell's own
        return type(error).__name__


@pytest.mark.timeout(300)
def test_keys_that_a_cell_makes(session: Session) -> None:
    for key in KEYS:
        assert ran(session, f"globals()[{key!r}] = 6\n'made'") == "made"
        assert ran(session, f"globals()[{key!r}]") == 6
    for cell in CELLS:
        assert ran(session, cell) not in ("AttributeError", "TypeError")
    assert ran(session, f"[key for key in {KEYS!r} if globals().get(key) != 6]") == []


@pytest.mark.timeout(300)
def test_keys_of_the_notebook() -> None:
    session = Session(name="odd-here", backend="local")
    try:
        for key in KEYS:
            session.namespace[key] = [1]
        found = [ran(session, cell) for cell in CELLS]
        assert found[:6] == [2, 2, 0, 1, 3, 2]
        assert found[-1] == "ZeroDivisionError"
        assert all(session.namespace[key] == [1] for key in KEYS)
    finally:
        session.stop()
