"""The order of the tests: what takes longest begins first, so that no worker is left alone with it at the end."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of what is tested.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", settings.get_profile("steady"), max_examples=3000)
settings.load_profile("steady")

HERE: Final = Path(__file__).parent
LONGEST: Final = (
    "e2e/test_cases_libraries.py",
    "e2e/test_frontends.py",
    "session/values/test_one_memory.py",
    "e2e/test_cases_values.py",
    "control_plane/test_snippets.py",
    "e2e",
    "browser/test_kernels.py",
    "browser",
    "cloud",
    "control_plane",
    "session",
    "container",
)
"""Files that take minutes, then directories, the longest first; what is not named takes seconds in all.

A directory's files stay together: the browser tests share a page.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order them; within a file, and between files of one kind, they stay as they were found."""
    items.sort(key=lambda item: place(item.path))


@cache
def place(file: Path) -> int:
    """Which of LONGEST a file belongs to first."""
    path = file.relative_to(HERE)
    return next((number for number, each in enumerate(LONGEST) if path.is_relative_to(each)), len(LONGEST))
