"""The user's state directory of this package: `$XDG_STATE_HOME/modal-gpu-magic` on Linux."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from platformdirs import user_state_path

NAME: Final = "modal-gpu-magic"


def state_directory() -> Path:
    """Return the directory, which may not exist."""
    return Path(user_state_path(NAME, appauthor=False))


def made(folder: Path) -> Path:
    """Return a directory that exists; a new one is readable by the user alone.

    Raises:
        OSError: the directory cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
