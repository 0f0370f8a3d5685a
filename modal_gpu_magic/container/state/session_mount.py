"""Where this container has the directory of its session in the session Volume."""

from __future__ import annotations

import json
import os
from pathlib import Path

from modal_gpu_magic.catalog.limits import SESSION_MOUNT
from modal_gpu_magic.container.state.workdir import LOCAL_VOLUMES
from modal_gpu_magic.wire.messages.segments import session_directory


def mounted(session: str) -> Path | None:
    """Return the session's directory, which may not exist yet; None: no Volume is mounted.

    The local control plane mounts no absolute path: another kernel's containers have the same one. A variable says
    where the Volume is.
    """
    local: dict[str, str] = json.loads(os.environ.get(LOCAL_VOLUMES, "{}"))
    top = Path(local.get(SESSION_MOUNT, SESSION_MOUNT))
    return top / session_directory(session) if top.is_dir() else None
