"""What of a process's state no later look can tell from a user's change: noted when the extension is loaded."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AtStart:
    """The working directory and the import path as they were."""

    folder: Path
    path: tuple[str, ...]


_noted: list[AtStart] = []


def at_start() -> AtStart:
    """What was noted first; notes what is so now if nothing was noted before."""
    if not _noted:
        _noted.append(AtStart(Path.cwd(), tuple(sys.path)))
    return _noted[0]
