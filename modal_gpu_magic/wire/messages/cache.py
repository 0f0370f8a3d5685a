"""The cache of downloads that GPU machines share: the name of its Volume, where it is, what is kept there.

Both sides know it: the kernel mounts the Volume, the container points the libraries to it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VOLUME = "modal-gpu-magic-cache"

PATH = "/root/.cache/modal-gpu-magic"
"""Where it is mounted. Below /root, because the local backend has no mounts and another path may be taken."""

FOLDERS: Mapping[str, str] = MappingProxyType({"HF_HOME": "huggingface", "TORCH_HOME": "torch"})
"""By variable, the folder in the Volume that it names: where Hugging Face and `torch.hub` keep what they download."""
