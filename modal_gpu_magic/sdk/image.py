"""Build a Machine's `modal.Image`: the preset or reference, the packages, and this package as the last layer.

`plan.machine.layers` decides which layers the image has, and in which order.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.plan.machine.layers import base, layers
from modal_gpu_magic.wire.process.interpreter import HASH_SEED, hash_seed

if TYPE_CHECKING:
    import modal

    from modal_gpu_magic.plan.machine.definition import Machine

RUNTIME_PACKAGES = ("ipython", "cloudpickle", "xxhash")
"""Third-party packages of the container runtime. Both sides need the same versions, since they exchange pickles."""


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
    return _with_ours(image, {} if HASH_SEED in dict(machine.env) else hash_seed())


def _base(machine: Machine) -> Any:
    """Return the object with the first layer's method: the `modal.Image` in a variable, or the class `modal.Image`."""
    import modal

    if machine.image_object is None:
        return modal.Image
    if not isinstance(machine.image_object, modal.Image):
        name, kind = machine.image.partition(":")[2], type(machine.image_object).__name__
        raise MachineError(f"--image {name} is a {kind}, not a modal.Image.")
    return machine.image_object


def _with_ours(image: modal.Image, variables: dict[str, str]) -> modal.Image:
    """Return the image with the runtime's packages and files.

    Args:
        image: the layers that the machine asks for.
        variables: variables that the container's Python reads at its start, after all layers that take time to build.
    """
    from modal_gpu_magic.sdk import package_source

    pins = [f"{package}=={local_version(package)}" for package in RUNTIME_PACKAGES]
    image = image.pip_install(*pins)
    return package_source.add_to(image.env(variables) if variables else image)
