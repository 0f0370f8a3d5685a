"""The order of the tests: what takes longest begins first, so that no worker is left alone with it at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.frugal import spare

HERE: Final = Path(__file__).parent
LONGEST: Final = (
    "e2e/test_frontends.py",
    "control_plane/test_snippets.py",
    "e2e",
    "browser",
    "cloud",
    "control_plane",
    "session",
    "container",
)
"""Files and directories, the longest first. They start processes; what is not named takes seconds in all."""


spare()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order them; within a file, and between files of one kind, they stay as they were found."""
    items.sort(key=lambda item: place(item.path.relative_to(HERE)))


def place(path: Path) -> int:
    """Which of LONGEST a file belongs to first."""
    return next((number for number, each in enumerate(LONGEST) if path.is_relative_to(each)), len(LONGEST))
