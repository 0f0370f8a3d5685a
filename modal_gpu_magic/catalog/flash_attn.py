"""flash-attn's release wheels, and the CUDA that PyPI's torch is built with: what must be compiled, and with what.

Sources:
  Wheels: assets of github.com/Dao-AILab/flash-attention/releases/tag/v2.8.3, as public files name them, 2026-11-24.
    One wheel fits one minor version of torch, of Python, and one C++ ABI; that of PyPI's torch changed with 2.7.
  CUDA: requirements of the torch wheels on pypi.org, 2.9.1 to 2.12.1, 2026-11-24.
  How it is compiled: its README. It imports torch when it is built, so torch comes first and builds are not isolated.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "flash-attn"

RELEASE = "2.8.3"
"""The release whose wheels are listed."""

_URL = (
    "https://github.com/Dao-AILab/flash-attention/releases/download/v{release}/"
    "flash_attn-{release}+cu12torch{torch}cxx11abi{abi}-{python}-{python}-linux_x86_64.whl"
)

WHEELS: Mapping[tuple[int, int], tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        (2, 6): ("FALSE", (10, 11)),
        (2, 7): ("TRUE", (10, 11, 12)),
        (2, 8): ("TRUE", (10, 11, 12, 13)),
        (2, 9): ("TRUE", (12,)),
    }
)
"""By torch's minor: the C++ ABI of PyPI's torch, and the minors of Python 3 with a wheel."""

BUILD_TOOLS = ("ninja", "packaging", "setuptools", "wheel")
"""What its build needs beside torch and nvcc."""

MAX_JOBS = 4
"""Compilers at once: each takes several GB, and its README warns of more than memory allows."""

TOOLKITS: Mapping[int, str] = MappingProxyType(
    {12: "nvidia/cuda:12.8.1-devel-ubuntu24.04", 13: "nvidia/cuda:13.0.2-devel-ubuntu24.04"}
)
"""Images with nvcc by CUDA's major, which must be that of torch. Modal's hosts have CUDA 13.0."""

_CUDA_13 = (2, 11)
"""The first torch whose wheel on PyPI is built with CUDA 13; the newest is, too."""


def wheel(torch: str | None, python: int) -> str | None:
    """The address of the release wheel for a torch (None: the newest) and a minor of Python 3; None: there is none."""
    abi, pythons = WHEELS.get(_minor(torch) or (0, 0), ("", ()))
    if python not in pythons:
        return None
    minor = "{}.{}".format(*(_minor(torch) or ()))
    return _URL.format(release=RELEASE, torch=minor, abi=abi, python=f"cp3{python}")


def cuda_major(torch: str | None) -> int:
    """Major version of the CUDA that a version of torch is built with; None: the newest torch."""
    minor = _minor(torch)
    return 12 if minor is not None and minor < _CUDA_13 else 13


def _minor(version: str | None) -> tuple[int, int] | None:
    parts = (version or "").split(".")[:2]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(map(str.isdigit, parts)) else None  # noqa: PLR2004
