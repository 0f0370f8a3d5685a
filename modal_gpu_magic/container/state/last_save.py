"""The save at the end of a container, announced on the session Volume: the session's next container waits for it."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS: Final = 30.0
"""Seconds that Modal gives a container to end (`@modal.exit`), and that the next container waits at most."""
CLOSING: Final = "closing"
"""The file that says which run is being saved, below the directory of the state."""


@contextlib.contextmanager
def announced(directory: Path, run: str, commit: Callable[[], object]) -> Iterator[None]:
    """Announce, while the block runs, that the state after a run is being saved.

    Args:
        directory: the directory of the state.
        run: the last run of the container that ends.
        commit: makes the announcement visible to other containers.
    """
    path = directory / CLOSING
    with contextlib.suppress(OSError):  # without an announcement, the state is saved all the same
        part = directory / f".{CLOSING}"
        part.write_text(json.dumps({"run": run, "until": time.time() + SECONDS}))
        part.replace(path)
    with contextlib.suppress(Exception):
        commit()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def announced_run(directory: Path) -> str:
    """Return the run after which the state is being saved; empty: none, or its container has been killed meanwhile."""
    try:
        found: Any = json.loads((directory / CLOSING).read_text())
        return str(found["run"]) if time.time() < float(found["until"]) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
