"""A GPU for which the toolkit of the image is too old is refused before anything is built."""

from __future__ import annotations

import pytest

from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.plan.machine.definition import Machine


@pytest.mark.parametrize(
    "gpus, image",
    [
        (["B300"], "cuda"),
        (["B200", "B300:8"], "flash-attn"),
        (["B200+"], "nvidia/cuda:12.4.1-devel-ubuntu22.04"),
        (["B300"], "docker.io/nvidia/cuda:12.9.0-runtime-ubuntu24.04"),
    ],
)
def test_an_old_toolkit_is_refused(gpus: list[str], image: str) -> None:
    with pytest.raises(
        MachineError, match=r"needs CUDA 13\.1, and --image .* has 12\.\d+; write --image nvidia/cuda:13"
    ):
        Machine.of(*gpus, image=image)


@pytest.mark.parametrize(
    "gpu, image",
    [
        ("B300", "torch"),
        ("B300", "vllm"),
        ("B300", "nvidia/cuda:13.1.0-devel-ubuntu24.04"),
        ("B300", "nvcr.io/nvidia/pytorch:25.10-py3"),
        ("B200", "cuda"),
        ("H100", "nvidia/cuda:12.4.1-devel-ubuntu22.04"),
    ],
)
def test_any_other_is_not(gpu: str, image: str) -> None:
    assert Machine.of(gpu, image=image).image == image
