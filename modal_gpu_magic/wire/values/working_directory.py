"""The working directory as a state: its place below the folder in which the notebook, or its container, began.

It is no row of the table: a container can go there only after the files of that folder have.
"""

from __future__ import annotations

import os
from pathlib import Path


def place_below(root: Path) -> str | None:
    """The working directory as a path from `root`, `.` for `root` itself. None: it is elsewhere, or was removed."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return None
    return here.relative_to(root).as_posix() if here.is_relative_to(root) else None


def go_below(root: Path, place: str) -> None:
    """Make a place below `root` the working directory; the folders on the way are made.

    Raises:
        ValueError: the place is not below `root`.
    """
    target = (root / place).resolve()
    if not target.is_relative_to(root.resolve()):
        raise ValueError(f"{place} is not below {root}")
    target.mkdir(parents=True, exist_ok=True)
    os.chdir(target)
