"""Lengths hold for the whole tree, and the check itself sees what is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.checks.lengths import sources, too_long

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_too_long() -> None:
    assert [line for path in sources() for line in too_long(path)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n" * 400, []),
        ("x = 1\n" * 401, [":1: 401 lines, 400 at most"]),
        ("def f():\n" + "    x = 1\n" * 59, []),
        ("def f():\n" + "    x = 1\n" * 60, [":1: f has 61 lines, 60 at most"]),
        ("class A:\n    async def f(self):\n" + "        x = 1\n" * 60, [":2: f has 61 lines, 60 at most"]),
    ],
)
def test_the_check_counts(tmp_path: Path, source: str, found: list[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert [line.removeprefix(str(path)) for line in too_long(path)] == found
