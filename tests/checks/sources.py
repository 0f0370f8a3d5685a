"""The Python files that the checks read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("modal_gpu_magic", "tests", "notebooks")


def sources(root: Path = ROOT) -> Iterator[Path]:
    """Every Python file of the project."""
    for folder in FOLDERS:
        yield from sorted((root / folder).rglob("*.py"))
