"""The layers of a session's image, as a list of Modal's own methods: `sdk.image` calls them, a dry run shows them.

They are ordered from what changes least to what changes most, so that a small change rebuilds little: the preset's own,
then the header's Debian packages, packages, commands and environment, and last what the cells import.
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
    """The notebook's version of a distribution, less its build tag; None: it has none."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a method of `modal.Image`. `str(step)` is its text; of an environment, without the values."""

    method: str
    words: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    env: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What stands in its brackets, before the options."""
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
    """What the image begins with, as functions of `modal.Image`; nothing for one that a variable holds.

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
    """What is put on top of the base, in order.

    Args:
        machine: the session's.
        packages: what the cells import, as requirements. One that the header, the preset or `ours` names is theirs.
        versions: the notebook's.
        ours: names of the packages that our own last layer brings.

    Raises:
        MachineError: flash-attn must be compiled, and the image has nothing to compile it with.
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
        Step("apt_install", tuple(dict.fromkeys((*machine.apt, *(RDMA_DEBIAN if machine.rdma else ()))))),
        Step("pip_install", tuple(added)),
        Step("run_commands", machine.run),
        Step("env", env=machine.env),
        Step("pip_install", tuple(imported)),
    )
    return tuple(step for step in steps if step.words or step.env)


def pinned(package: str, versions: Versions) -> str:
    """`torch` as `torch==2.13.0` at the notebook's version; as it is, if a version is given or it is not installed."""
    found = None if any(sign in package for sign in "=<>!~@ ") else versions(package.partition("[")[0])
    return f"{package}=={found}" if found else package


def compiles(machine: Machine, versions: Versions) -> str:
    """The sentence for an image whose build compiles flash-attn; empty if it does not."""
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
    """The machine, asking for flash-attn if the cells import it: pip alone, without torch, cannot build it."""
    imported = tuple(each for each in packages if package_name(each) == flash_attn.NAME)
    return (
        replace(machine, pip=(*machine.pip, *imported))
        if not _flash_attn(machine, PRESETS.get(machine.image))
        else machine
    )


def _attention(machine: Machine, preset: Preset | None, versions: Versions) -> Iterator[Step]:
    """flash-attn, if it is asked for, behind the torch it is for: from its release wheel, or compiled."""
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


def _reference(machine: Machine, preset: Preset | None, versions: Versions) -> str:
    """The registry image; where flash-attn is compiled, the one with the nvcc of torch's own CUDA."""
    if preset is None:
        return machine.image
    if preset.nvcc and _flash_attn(machine, preset) and not _wheel(machine, preset, versions):
        return flash_attn.TOOLKITS[flash_attn.cuda_major(_torch_version(machine, preset, versions))]
    return preset.reference


def _asked(machine: Machine, preset: Preset | None) -> tuple[str, ...]:
    return (*machine.pip, *(preset.pip if preset else ()))


def _flash_attn(machine: Machine, preset: Preset | None) -> str:
    """The requirement of flash-attn, the header's before the preset's; empty if it is not asked for."""
    return next((each for each in _asked(machine, preset) if package_name(each) == flash_attn.NAME), "")


def _torch(machine: Machine, preset: Preset | None, versions: Versions) -> str:
    """The requirement of the torch that flash-attn gets: the header's, else at the notebook's version."""
    return pinned(next((each for each in _asked(machine, preset) if package_name(each) == "torch"), "torch"), versions)


def _torch_version(machine: Machine, preset: Preset | None, versions: Versions) -> str | None:
    return _torch(machine, preset, versions).partition("==")[2] or None


def _wheel(machine: Machine, preset: Preset | None, versions: Versions) -> str | None:
    """The release wheel, if there is one for torch and Python, and no other version is asked for."""
    if _flash_attn(machine, preset) not in (flash_attn.NAME, f"{flash_attn.NAME}=={flash_attn.RELEASE}"):
        return None
    return flash_attn.wheel(_torch_version(machine, preset, versions), sys.version_info.minor)


def _with_a_wheel(clause: str) -> str:
    """A clause about the newest torch that has a wheel for this Python, as the header takes it; none if none has."""
    fits = [torch for torch, (_, pythons) in flash_attn.WHEELS.items() if sys.version_info.minor in pythons]
    return clause.format('--pip "torch=={}.{}.0"'.format(*max(fits))) if fits else ""
