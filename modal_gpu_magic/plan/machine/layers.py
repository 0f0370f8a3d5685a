"""The layers of a session's image as calls of Modal's methods, which `sdk.image` executes and a dry run shows.

Layers that change rarely come first, so that a change rebuilds few layers: the preset's layers, then the header's
Debian packages, packages, commands and environment, then the packages that the cells import.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog import flash_attn
from modal_gpu_magic.catalog.images import PRESETS, RDMA_DEBIAN, Preset
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.line.readers import package_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modal_gpu_magic.plan.machine.definition import Machine

    Versions = Callable[[str], str | None]
    """Returns the notebook's version of a distribution without the build part; None: not installed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a method of `modal.Image`. `str(step)` is its text; of an environment, without the values."""

    method: str
    words: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    env: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The positional arguments of the call."""
        return (dict(self.env),) if self.method == "env" else ([],) if self.method == "entrypoint" else self.words

    def __str__(self) -> str:
        """`.pip_install('torch')`."""
        words = [repr(word) for word in self.words]
        if self.method == "env":
            words = [f"{{{', '.join(f'{key!r}: ...' for key, _ in self.env)}}}"]
        if self.method == "entrypoint":
            words = ["[]"]
        return f".{self.method}({', '.join([*words, *(f'{name}={value!r}' for name, value in self.options.items())])})"


def base(machine: Machine, packages: Iterable[str], versions: Versions) -> tuple[Step, ...]:
    """Return the first calls of the image; empty for an image from a variable.

    The arguments are those of `layers`.

    Raises:
        MachineError: the preset has no packages for this Python.
    """
    if machine.image.startswith("variable:"):
        return ()
    preset = PRESETS.get(machine.image)
    if preset is not None and preset.least_python > sys.version_info.minor:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise MachineError(
            f"--image {preset.name} needs Python 3.{preset.least_python} or newer, and this notebook's is {python}; "
            f"start its kernel with a newer Python."
        )
    reference = _reference(_asking(machine, packages), preset, versions)
    if not reference:
        return (Step("debian_slim", options={"python_version": machine.python} if machine.python else {}),)
    python = machine.python or f"{sys.version_info.major}.{sys.version_info.minor}"
    return Step("from_registry", (reference,), {"add_python": python}), Step("entrypoint")


def layers(
    machine: Machine, packages: Iterable[str], versions: Versions, ours: tuple[str, ...] = ()
) -> tuple[Step, ...]:
    """Return the layers after the base, in order.

    Args:
        machine: the session's machine.
        packages: requirements of the cells' imports; skipped if header, preset or `ours` name the package.
        versions: returns the notebook's version of a distribution.
        ours: names of the packages in the last layer, which this package adds.

    Raises:
        MachineError: flash-attn must be compiled, and the image has no compiler.
    """
    preset, packages = PRESETS.get(machine.image), tuple(packages)
    machine = _asking(machine, packages)
    own = {package_name(package) for package in machine.pip}
    attention = tuple(_attention(machine, preset, versions))
    apart = {"torch", flash_attn.NAME} if attention else set[str]()
    brought = [each for each in (preset.pip if preset else ()) if package_name(each) not in own | apart]
    added = [each for each in machine.pip if package_name(each) not in apart]
    taken = {package_name(each) for each in (*_asked(machine, preset), *(preset.brings if preset else ()), *ours)}
    imported = [each for each in dict.fromkeys(packages) if package_name(each) not in taken | apart]
    steps = (
        Step("apt_install", preset.apt if preset else ()),
        *attention,
        Step("pip_install", tuple(pinned(each, versions) for each in brought)),
        Step("env", env=preset.env if preset else ()),
        Step("apt_install", tuple(dict.fromkeys((*machine.apt, *_debian(machine, (*added, *imported)))))),
        Step("pip_install", tuple(added)),
        Step("run_commands", machine.run),
        Step("env", env=machine.env),
        Step("pip_install", tuple(imported)),
    )
    return tuple(step for step in steps if step.words or step.env)


def pinned(package: str, versions: Versions) -> str:
    """Pin a package to the notebook's version; unchanged if it has a version or is not installed."""
    found = None if any(sign in package for sign in "=<>!~@ ") else versions(package.partition("[")[0])
    return f"{package}=={found}" if found else package


def compiles(machine: Machine, versions: Versions) -> str:
    """Return the sentence about an image whose build compiles flash-attn; empty: no compilation."""
    preset = PRESETS.get(machine.image)
    asked = _flash_attn(machine, preset)
    if not asked or _wheel(machine, preset, versions):
        return ""
    torch = _torch_version(machine, preset, versions)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{asked} has no known release wheel for {f'torch {torch}' if torch else 'the newest torch'}, Python {python}: "
        f"it is compiled once, while the image is built, which takes long{_with_a_wheel('; {} has one')}."
    )


def _asking(machine: Machine, packages: Iterable[str]) -> Machine:
    """Add flash-attn to the machine if the cells import it, because its build needs torch."""
    imported = tuple(each for each in packages if package_name(each) == flash_attn.NAME)
    return (
        replace(machine, pip=(*machine.pip, *imported))
        if not _flash_attn(machine, PRESETS.get(machine.image))
        else machine
    )


def _attention(machine: Machine, preset: Preset | None, versions: Versions) -> Iterator[Step]:
    """Yield the steps for a requested flash-attn: torch, then the release wheel or a compilation."""
    asked = _flash_attn(machine, preset)
    if not asked:
        return
    wheel = _wheel(machine, preset, versions)
    if not wheel and preset is not None and not preset.nvcc:
        raise MachineError(
            f"{asked} must be compiled for the torch it gets, and --image {preset.name} has no nvcc; write "
            f"--image {flash_attn.NAME}{_with_a_wheel(', or take a torch with a release wheel: {}')}."
        )
    yield Step("pip_install", (_torch(machine, preset, versions),))
    if wheel:
        yield Step("pip_install", (wheel,))
        return
    yield Step("pip_install", flash_attn.BUILD_TOOLS)
    jobs = {"MAX_JOBS": str(flash_attn.MAX_JOBS)}
    yield Step("pip_install", (asked,), {"extra_options": "--no-build-isolation", "env": jobs})


def _debian(machine: Machine, packages: Iterable[str]) -> Iterator[str]:
    """Yield the Debian packages that the machine and its packages need besides those of the header."""
    if machine.rdma:
        yield from RDMA_DEBIAN
    if any("git+" in package for package in packages):
        yield "git"


def _reference(machine: Machine, preset: Preset | None, versions: Versions) -> str:
    """Return the registry image; to compile flash-attn, an image with the nvcc of torch's CUDA version."""
    if preset is None:
        return machine.image
    if preset.nvcc and _flash_attn(machine, preset) and not _wheel(machine, preset, versions):
        return flash_attn.TOOLKITS[flash_attn.cuda_major(_torch_version(machine, preset, versions))]
    return preset.reference


def _asked(machine: Machine, preset: Preset | None) -> tuple[str, ...]:
    return (*machine.pip, *(preset.pip if preset else ()))


def _flash_attn(machine: Machine, preset: Preset | None) -> str:
    """Return the requirement of flash-attn, the header's before the preset's; empty: not requested."""
    return next((each for each in _asked(machine, preset) if package_name(each) == flash_attn.NAME), "")


def _torch(machine: Machine, preset: Preset | None, versions: Versions) -> str:
    """Return the requirement of torch for flash-attn: the header's, else the notebook's version."""
    return pinned(next((each for each in _asked(machine, preset) if package_name(each) == "torch"), "torch"), versions)


def _torch_version(machine: Machine, preset: Preset | None, versions: Versions) -> str | None:
    return _torch(machine, preset, versions).partition("==")[2] or None


def _wheel(machine: Machine, preset: Preset | None, versions: Versions) -> str | None:
    """Return the release wheel for torch and Python; None: no wheel, or another version is requested."""
    if _flash_attn(machine, preset) not in (flash_attn.NAME, f"{flash_attn.NAME}=={flash_attn.RELEASE}"):
        return None
    return flash_attn.wheel(_torch_version(machine, preset, versions), sys.version_info.minor)


def _with_a_wheel(clause: str) -> str:
    """Format a clause about the newest torch that has a wheel for this Python; empty: no torch has one."""
    fits = [torch for torch, (_, pythons) in flash_attn.WHEELS.items() if sys.version_info.minor in pythons]
    return clause.format('--pip "torch=={}.{}.0"'.format(*max(fits))) if fits else ""
