"""flash-attn's release wheels, and the CUDA version of PyPI's torch: whether and how flash-attn must be compiled.

Sources:
  Wheels: assets of github.com/Dao-AILab/flash-attention/releases/tag/v2.8.3, 2026-11-24. A wheel fits one minor version
    of torch, one minor version of Python and one C++ ABI; the C++ ABI of PyPI's torch changed with torch 2.7.
  CUDA: requirements of the torch wheels on pypi.org, 2.9.1 to 2.12.1, 2026-11-24.
  Compilation: flash-attn's README. The build imports torch, so torch is installed first and build isolation is off.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "flash-attn"

RELEASE = "2.8.3"
"""The release of the wheels in `WHEELS`."""

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
"""By minor version of torch: the C++ ABI of PyPI's torch, and the minor versions of Python 3 with a wheel."""

BUILD_TOOLS = ("ninja", "packaging", "setuptools", "wheel")
"""Packages that the build needs in addition to torch and nvcc."""

MAX_JOBS = 4
"""Parallel compiler processes: each takes several GB, and flash-attn's README warns of running out of memory."""

TOOLKITS: Mapping[int, str] = MappingProxyType(
    {12: "nvidia/cuda:12.8.1-devel-ubuntu24.04", 13: "nvidia/cuda:13.0.2-devel-ubuntu24.04"}
)
"""Images with nvcc by major version of CUDA, which must match torch's. Modal's hosts have CUDA 13.0."""

_CUDA_13 = (2, 11)
"""The first minor version of torch whose wheel on PyPI is built with CUDA 13; later versions are as well."""


def wheel(torch: str | None, python: int) -> str | None:
    """Return the URL of the wheel for a version of torch (None: the newest) and a minor of Python 3, or None."""
    abi, pythons = WHEELS.get(_minor(torch) or (0, 0), ("", ()))
    if python not in pythons:
        return None
    minor = "{}.{}".format(*(_minor(torch) or ()))
    return _URL.format(release=RELEASE, torch=minor, abi=abi, python=f"cp3{python}")


def cuda_major(torch: str | None) -> int:
    """Return the major version of CUDA with which a version of torch is built; None: the newest torch."""
    minor = _minor(torch)
    return 12 if minor is not None and minor < _CUDA_13 else 13


def _minor(version: str | None) -> tuple[int, int] | None:
    parts = (version or "").split(".")[:2]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(map(str.isdigit, parts)) else None  # noqa: PLR2004
