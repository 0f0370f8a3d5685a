"""Whether the CUDA toolkit of an image is new enough for the GPUs.

Modal's guide asks for CUDA 13.1 on a B300, and torch built for 13.0 was seen to work: a toolkit of an
older major version is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.images import PRESETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.line.spec import GpuSpec

NEWER: Final = "nvidia/cuda:13.1.0-devel-ubuntu24.04"
"""An image with the toolkit that the newest GPUs need."""
_VERSION = re.compile(r"(?:^|/)nvidia/cuda:([0-9]+)\.([0-9]+)|(?:^|/)cuda:([0-9]+)\.([0-9]+)")


def refusal(gpus: Sequence[GpuSpec], image: str) -> str | None:
    """Return the sentence about a GPU for which the image's toolkit is too old; None: no such GPU.

    Args:
        gpus: the requested specs.
        image: a preset's name, or a registry reference.
    """
    preset = PRESETS.get(image)
    found = _VERSION.search(preset.reference if preset else image)
    if found is None:
        return None
    major, minor = (part for part in found.groups() if part)
    for spec in gpus:
        if spec.gpu and spec.gpu.cuda and int(major) < int(spec.gpu.cuda.partition(".")[0]):
            return (
                f"{spec} needs CUDA {spec.gpu.cuda}, and --image {image} has {major}.{minor}; "
                f"write --image {NEWER}, or choose another GPU."
            )
    return None
