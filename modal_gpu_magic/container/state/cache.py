"""Points Hugging Face and torch to the cache Volume, where this container has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.messages.cache import FOLDERS, PATH

if TYPE_CHECKING:
    from collections.abc import MutableMapping

LOCAL_VOLUMES = "MODAL_GPU_VOLUMES"
"""The local control plane's variable with the real directory of each mount: there, a path may be somewhere else."""


def settle(environ: MutableMapping[str, str], path: str = PATH) -> None:
    """Set `HF_HOME` and `TORCH_HOME`, but for those that the image or `--env` has set. Before user code imports.

    Args:
        environ: the container's environment; changed.
        path: where the Volume is mounted, if it is.
    """
    place = _place(environ, path)
    if place is None:
        return
    for variable, folder in FOLDERS.items():
        environ.setdefault(variable, f"{place}/{folder}")


def _place(environ: MutableMapping[str, str], path: str) -> str | None:
    """The directory of the Volume; None if it is not mounted here."""
    local = environ.get(LOCAL_VOLUMES)
    if local is not None:
        mounts: dict[str, str] = json.loads(local)
        return mounts.get(path)
    return path if Path(path).is_dir() else None
