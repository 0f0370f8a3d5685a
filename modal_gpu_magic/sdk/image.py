"""A Machine's image as a `modal.Image`: the preset or reference, the packages, and one last layer of ours.

Which layers, and in which order, is decided in `plan.machine.layers`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.plan.machine.layers import base, layers

if TYPE_CHECKING:
    import modal

    from modal_gpu_magic.plan.machine.definition import Machine

OURS = ("ipython", "cloudpickle", "xxhash")
"""Third-party packages of the container runtime; both sides must have the same versions (a pickle crosses)."""

CONTAINER_FLOORS = ("container", "metrics", "wire")
CONTAINER_FILES = (
    *("__init__.py", "_version.py", "errors.py"),
    *("catalog/__init__.py", "catalog/limits.py"),
    *("sdk/__init__.py", "sdk/entry.py", "sdk/modal_cluster.py", "sdk/nodes.py", "sdk/stubs.py"),
)


def local_version(package: str) -> str | None:
    """The notebook's version of a distribution, less its build tag (`2.13.0`, not `2.13.0+cpu`); None: it has none."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def build(machine: Machine, packages: tuple[str, ...]) -> modal.Image:
    """The image of a session: `machine`'s layers, `packages` the cells import, then our last layer.

    Raises:
        MachineError: the image variable does not hold a `modal.Image`, or the image cannot be built as asked for.
    """
    image: Any = _base(machine)
    for step in (*base(machine, packages, local_version), *layers(machine, packages, local_version, OURS)):
        image = getattr(image, step.method)(*step.arguments, **step.options)
    return _with_ours(image)


def _base(machine: Machine) -> Any:
    """What the first layer is a method of: the image that a variable holds, or `modal.Image` itself."""
    import modal

    if machine.image_object is None:
        return modal.Image
    if not isinstance(machine.image_object, modal.Image):
        name, kind = machine.image.partition(":")[2], type(machine.image_object).__name__
        raise MachineError(f"--image {name} is a {kind}, not a modal.Image.")
    return machine.image_object


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
