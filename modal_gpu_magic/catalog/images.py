"""The named images, such as `--image torch`, as plain values. `sdk.image` builds them.

A session's additions (packages of the line and of the cells' imports, this package's layer) are made in
`plan.machine.layers`.

Sources:
  CUDA images: hub.docker.com/r/nvidia/cuda; 12.8.1 is the version in Modal's GPU reference.
  vLLM: its installation guide (its wheels are compiled for one torch version and need a fresh environment), and the
    requirements of vllm 0.33.0 on pypi.org, 2026-11-24. vLLM compiles kernels at its start, so the image needs nvcc.
  JAX: docs.jax.dev/en/latest/installation.html, 2026-11.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Preset:
    """An image by name.

    Attributes:
        name: value of `--image`.
        help: one line for the help text.
        base: `debian_slim`: Modal's small Debian; `registry`: `reference`, with the kernel's Python minor added.
        reference: the registry reference; empty for `debian_slim`.
        pip: packages, at the notebook's versions where it has them.
        apt: Debian packages.
        env: environment variables, as pairs.
        brings: packages whose versions the preset's own packages determine, so that they are not pinned.
        least_python: oldest supported minor version of Python 3.
        nvcc: the image can compile CUDA code.
    """

    name: str
    help: str
    base: Literal["debian_slim", "registry"] = "debian_slim"
    reference: str = ""
    pip: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    brings: tuple[str, ...] = ()
    least_python: int = 10
    nvcc: bool = False

    def __post_init__(self) -> None:
        """Check that a registry image has a reference."""
        if (self.base == "registry") is not bool(self.reference):
            raise ValueError(f"preset {self.name!r}: a registry image has a reference, Modal's own has none.")


RDMA_DEBIAN = ("ibverbs-providers", "libibverbs1")
"""Debian packages that NCCL needs for RDMA: the library, and Mellanox's driver for it (`libmlx5.so.1`)."""

DEFAULT_PRESET = "torch"
"""The default image of a session."""

_ROWS = (
    Preset("torch", "PyTorch on a slim Debian; its wheel brings CUDA, Modal the driver", pip=("torch",)),
    Preset("slim", "a slim Debian with Python and nothing else"),
    Preset(
        "cuda",
        "NVIDIA's CUDA 12.8 toolkit (nvcc, headers) on Ubuntu 24.04, for packages that compile",
        base="registry",
        reference="nvidia/cuda:12.8.1-devel-ubuntu24.04",
        nvcc=True,
    ),
    Preset(
        "flash-attn",
        "PyTorch and flash-attn on NVIDIA's CUDA toolkit; a release wheel where there is one, else compiled",
        base="registry",
        reference="nvidia/cuda:12.8.1-devel-ubuntu24.04",
        pip=("torch", "flash-attn"),
        nvcc=True,
    ),
    Preset(
        "vllm",
        "vLLM 0.33.0 with the PyTorch it is compiled for, on NVIDIA's CUDA 13.0 toolkit",
        base="registry",
        reference="nvidia/cuda:13.0.2-devel-ubuntu24.04",
        pip=("vllm==0.33.0",),
        brings=("torch", "torchaudio", "torchvision", "numpy", "transformers", "tokenizers", "safetensors", "pillow"),
        least_python=11,
        nvcc=True,
    ),
    Preset("jax", "JAX with its CUDA 12 libraries on a slim Debian", pip=("jax[cuda12]",)),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ROWS})
"""Every preset by name, the default first."""
