"""Build a Machine's `modal.Image`: the preset or reference, the packages, and this package as the last layer.

`plan.machine.layers` decides which layers the image has, and in which order.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.plan.machine.layers import base, layers

if TYPE_CHECKING:
    import modal

    from modal_gpu_magic.plan.machine.definition import Machine

RUNTIME_PACKAGES = ("ipython", "cloudpickle", "xxhash")
"""Third-party packages of the container runtime. Both sides need the same versions, since they exchange pickles."""

PACKAGE = Path(__file__).parents[1]
BATCH = 64
"""Most files whose existence Modal's SDK 1.6 checks in one request; a mount's requests follow one another."""
CONTAINER_FLOORS = ("container", "metrics", "wire")
CONTAINER_FILES = (
    *("__init__.py", "_version.py", "errors.py"),
    *("catalog/__init__.py", "catalog/limits.py"),
    *("sdk/__init__.py", "sdk/entry.py", "sdk/modal_cluster.py", "sdk/nodes.py", "sdk/stubs.py"),
)


def local_version(package: str) -> str | None:
    """Return the notebook's version of a distribution without its build tag (`2.13.0`, not `2.13.0+cpu`), or None."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def build(machine: Machine, packages: tuple[str, ...]) -> modal.Image:
    """Build a session's image: `machine`'s layers, `packages` that the cells import, then this package's layer.

    Raises:
        MachineError: the image variable holds no `modal.Image`, or the image cannot be built as requested.
    """
    image: Any = _base(machine)
    for step in (*base(machine, packages, local_version), *layers(machine, packages, local_version, RUNTIME_PACKAGES)):
        image = getattr(image, step.method)(*step.arguments, **step.options)
    return _with_ours(image)


def _base(machine: Machine) -> Any:
    """Return the object with the first layer's method: the `modal.Image` in a variable, or the class `modal.Image`."""
    import modal

    if machine.image_object is None:
        return modal.Image
    if not isinstance(machine.image_object, modal.Image):
        name, kind = machine.image.partition(":")[2], type(machine.image_object).__name__
        raise MachineError(f"--image {name} is a {kind}, not a modal.Image.")
    return machine.image_object


def _with_ours(image: modal.Image) -> modal.Image:
    pins = [f"{package}=={local_version(package)}" for package in RUNTIME_PACKAGES]
    image = image.pip_install(*pins)
    for files in batched(container_files()):
        image = image.add_local_python_source("modal_gpu_magic", ignore=partial(_is_other, files))
    return image


def container_files() -> list[str]:
    """Return the paths of the files of this package that the container imports: three floors and CONTAINER_FILES."""
    floors = (path for floor in CONTAINER_FLOORS for path in (PACKAGE / floor).rglob("*.py"))
    return sorted({*CONTAINER_FILES, *(path.relative_to(PACKAGE).as_posix() for path in floors)})


def batched(files: list[str]) -> list[frozenset[str]]:
    """Divide files into mounts of BATCH: Modal's SDK checks the files of one mount batch by batch, mounts at once."""
    return [frozenset(files[first : first + BATCH]) for first in range(0, len(files), BATCH)]


def _is_other(files: frozenset[str], path: Path) -> bool:
    """Whether a path, absolute or relative to this package, is none of some files."""
    relative = path.relative_to(PACKAGE) if path.is_absolute() and path.is_relative_to(PACKAGE) else path
    return relative.as_posix() not in files
