"""Where this container has the Volume of its sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.limits import SESSION_MOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORIES = "MODAL_GPU_VOLUMES"
"""Environment variable of the local control plane: the directories of the Volumes by their mount paths, as JSON.

Containers of that control plane share the paths of this machine, so that one path cannot stand for two Volumes."""


def session_mount(environ: Mapping[str, str]) -> Path:
    """Return the directory with the files of the sessions' Volume."""
    directories = json.loads(environ.get(DIRECTORIES, "{}"))
    return Path(directories.get(SESSION_MOUNT, SESSION_MOUNT))
