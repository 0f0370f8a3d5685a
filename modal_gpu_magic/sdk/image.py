"""A Machine's image as a `modal.Image`: the preset or reference, the packages, and one last layer of ours.

Layers are ordered from what changes least to what changes most, so that a small change rebuilds little.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.images import PRESETS, RDMA_DEBIAN
from modal_gpu_magic.errors import MachineError

if TYPE_CHECKING:
    import modal

    from modal_gpu_magic.plan.machine import Machine

OURS = ("ipython", "cloudpickle", "xxhash")
"""Third-party packages of the container runtime; both sides must have the same versions (a pickle crosses)."""

CONTAINER_FLOORS = ("container", "metrics", "wire")
CONTAINER_FILES = ("__init__.py", "errors.py", "sdk/__init__.py", "sdk/entry.py", "sdk/nodes.py")


def local_version(package: str) -> str | None:
    """The notebook's version of a distribution, less its build tag (`2.13.0`, not `2.13.0+cpu`); None: it has none."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def pinned(package: str) -> str:
    """`torch` as `torch==2.13.0` at the notebook's version; as it is, if a version is given or it is not installed."""
    found = None if any(sign in package for sign in "=<>!~@ [") else local_version(package)
    return f"{package}=={found}" if found else package


def build(machine: Machine, packages: tuple[str, ...]) -> modal.Image:
    """The image of a session: `machine`'s layers, `packages` the cells import, then our last layer.

    Raises:
        MachineError: the image variable does not hold a `modal.Image`.
    """
    image = _base(machine)
    debian = (*machine.apt, *(RDMA_DEBIAN if machine.rdma else ()))
    if debian:
        image = image.apt_install(*dict.fromkeys(debian))
    wanted = tuple(package for package in dict.fromkeys((*machine.pip, *packages)) if package not in _there(machine))
    if wanted:
        image = image.pip_install(*wanted)
    if machine.run:
        image = image.run_commands(*machine.run)
    if machine.env:
        image = image.env(dict(machine.env))
    return _with_ours(image)


def _there(machine: Machine) -> tuple[str, ...]:
    """What the preset brings already, and what our last layer will."""
    preset = PRESETS.get(machine.image)
    return tuple(pinned(package) for package in (*(preset.pip if preset else ()), *OURS))


def _base(machine: Machine) -> modal.Image:
    import modal

    if machine.image_object is not None:
        if not isinstance(machine.image_object, modal.Image):
            name, kind = machine.image.partition(":")[2], type(machine.image_object).__name__
            raise MachineError(f"--image {name} is a {kind}, not a modal.Image.")
        return machine.image_object
    python = machine.python or f"{sys.version_info.major}.{sys.version_info.minor}"
    preset = PRESETS.get(machine.image)
    if preset is None:
        return modal.Image.from_registry(machine.image, add_python=python).entrypoint([])
    if preset.reference:
        image = modal.Image.from_registry(preset.reference, add_python=python).entrypoint([])
    else:
        image = modal.Image.debian_slim(python_version=machine.python)
    if preset.apt:
        image = image.apt_install(*preset.apt)
    if preset.pip:
        image = image.pip_install(*(pinned(package) for package in preset.pip))
    return image.env(dict(preset.env)) if preset.env else image


def _with_ours(image: modal.Image) -> modal.Image:
    pins = [f"{package}=={local_version(package)}" for package in OURS]
    return image.pip_install(*pins).add_local_python_source("modal_gpu_magic", ignore=_not_for_the_container)


def _not_for_the_container(path: Path) -> bool:
    """Whether a file of this package stays here: the container imports three floors, the entry and two files."""
    root = Path(__file__).parents[1]
    relative = path.relative_to(root) if path.is_absolute() and path.is_relative_to(root) else path
    if relative.suffix != ".py":
        return True
    return relative.parts[0] not in CONTAINER_FLOORS and relative.as_posix() not in CONTAINER_FILES
