"""The download cache that GPU machines share: its Volume, its mount path, its folders.

The kernel mounts the Volume; the container points the libraries to the folders.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VOLUME = "modal-gpu-magic-cache"

PATH = "/root/.cache/modal-gpu-magic"
"""Mount path of the Volume. Below /root, because the local backend has no mounts and another path may be in use."""

FOLDERS: Mapping[str, str] = MappingProxyType({"HF_HOME": "huggingface", "TORCH_HOME": "torch"})
"""By environment variable, the folder in the Volume for the downloads of Hugging Face and `torch.hub`."""
