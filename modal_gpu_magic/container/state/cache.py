"""Set the cache directories of Hugging Face and torch to the cache Volume, if it is mounted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.messages.cache import FOLDERS, PATH

if TYPE_CHECKING:
    from collections.abc import MutableMapping

LOCAL_VOLUMES = "MODAL_GPU_VOLUMES"
"""Variable of the local control plane: maps each mount path to its real directory on this machine."""


def settle(environ: MutableMapping[str, str], path: str = PATH) -> None:
    """Set `HF_HOME` and `TORCH_HOME` unless the image or `--env` has set them. Call this before user code imports.

    Args:
        environ: the container's environment; changed in place.
        path: mount path of the Volume.
    """
    directory = _directory(environ, path)
    if directory is None:
        return
    for variable, folder in FOLDERS.items():
        environ.setdefault(variable, f"{directory}/{folder}")


def _directory(environ: MutableMapping[str, str], path: str) -> str | None:
    """Return the directory of the Volume; None if the Volume is not mounted."""
    local = environ.get(LOCAL_VOLUMES)
    if local is not None:
        mounts: dict[str, str] = json.loads(local)
        return mounts.get(path)
    return path if Path(path).is_dir() else None
