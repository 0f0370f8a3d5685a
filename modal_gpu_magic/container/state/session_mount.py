"""The session Volume in this container: where the session has its directory, and how files become visible."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modal_gpu_magic.catalog.limits import SESSION_MOUNT
from modal_gpu_magic.container.state.workdir import LOCAL_VOLUMES
from modal_gpu_magic.wire.messages.segments import session_directory


def never() -> None:
    """Do nothing: other containers see written files at once."""


@dataclass(frozen=True, slots=True)
class SessionVolume:
    """What a container asks of its session Volume.

    Attributes:
        commit: makes written files last, and visible to other containers.
        reload: makes files visible that other containers have written.
    """

    commit: Callable[[], object] = never
    reload: Callable[[], object] = never


NO_SESSION_VOLUME: Final = SessionVolume()
"""No Volume is mounted."""


def top() -> Path:
    """Return the session Volume's directory, which does not exist if no Volume is mounted.

    The local control plane mounts no absolute path: another kernel's containers have the same one. A variable says
    where the Volume is.
    """
    local: dict[str, str] = json.loads(os.environ.get(LOCAL_VOLUMES, "{}"))
    return Path(local.get(SESSION_MOUNT, SESSION_MOUNT))


def mounted(session: str) -> Path | None:
    """Return the session's directory, which may not exist yet; None: no Volume is mounted."""
    return top() / session_directory(session) if top().is_dir() else None
