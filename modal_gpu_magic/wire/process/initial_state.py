"""Initial working directory and import path, recorded at load time because later changes cannot be distinguished."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AtStart:
    """The initial state.

    Attributes:
        folder: the working directory.
        path: `sys.path`.
    """

    folder: Path
    path: tuple[str, ...]


_recorded: list[AtStart] = []


def at_start() -> AtStart:
    """Return the recorded state; record the present state at the first call."""
    if not _recorded:
        _recorded.append(AtStart(Path.cwd(), tuple(sys.path)))
    return _recorded[0]
