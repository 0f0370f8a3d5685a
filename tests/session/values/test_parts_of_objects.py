"""Parts of an array of Python objects share its memory on both sides, as natively."""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

CASES: Final = {
    "part": "a = np.array([[1], None, 2, 'x'], object); b = a[1:]",
    "backwards": "a = np.array([[1], None, 2, 'x'], object); b = a[::-1]",
    "two parts": "c = np.array([[1], None, 2, 'x', 3], object); a = c[1:]; b = c[:4]; del c",
    "rows": "a = np.array([[1, None], [2, 'x'], [[3], 4]], object); b = a.T",
    "a row": "a = np.array([[1, None], [2, 'x'], [[3], 4]], object); b = a[1]",
    "flat": "a = np.array([[1, None], [2, 'x'], [[3], 4]], object); b = a.reshape(-1)",
    "records": "a = np.array([(1, [2]), (2, None), (3, 4)], [('p', 'i4'), ('q', object)]); b = a[1:]",
    "subclass": "a = np.array([[1], None, 2, 'x'], object).view(np.recarray); b = a.view(np.ndarray)",
    "in itself": "a = np.array([[1], None, 2, 'x'], object); b = a[1:]; a[0] = b",
}
"""Statements that make two arrays of one memory."""

CHANGES: Final = ("b[0] = 5", "a[1] = 6", "a[-1] = 7", "b[-1] = 8")
SHOW: Final = "seen = repr((a.tolist(), b.tolist(), np.shares_memory(a, b)))"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("remotely", [True, False])
def test_a_change_is_seen_in_both(case: str, *, remotely: bool) -> None:
    notebook = TwoMemories()
    notebook.native("import numpy as np")
    for source in (CASES[case], *CHANGES):
        acts, looks = (notebook.remote, notebook.native) if remotely else (notebook.native, notebook.remote)
        acts(f"{source}\n{SHOW}")
        assert (notebook.there if remotely else notebook.here)["seen"] == notebook.model["seen"], source
        looks(SHOW)
        assert (notebook.here if remotely else notebook.there)["seen"] == notebook.model["seen"], source
        remotely = not remotely
