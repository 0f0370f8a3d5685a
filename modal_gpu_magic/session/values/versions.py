"""Package versions: send the kernel's versions to the container, and report differences in returned values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.wire.messages.versions import Version, distribution_of, installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.plan.machine.definition import Machine


class Versions:
    """The package versions that the session's container has, and the differences that were reported."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._reported: set[str] = set()
        self._sent: set[str] = set()

    def outgoing(self, modules: Iterable[str], machine: Machine) -> dict[str, Version]:
        """The kernel's versions of the packages of the sent values, by module, without those sent before."""
        new = _kernel_versions({each.partition(".")[0] for each in modules} - self._known, machine)
        self._sent = set(new)
        return new

    def arrived(self) -> None:
        """Record that the container has the last sent versions and has reported the differences."""
        self._known |= self._sent
        self._sent = set()

    def forget(self) -> None:
        """Forget all versions after the container has ended."""
        self._known.clear()
        self._reported.clear()
        self._sent.clear()

    def unlike(self, remote: Mapping[str, str], machine: Machine) -> dict[str, str]:
        """A clause about each package of the returned values whose version differs, by module."""
        return {
            module: own.unlike(remote[module])
            for module, own in _kernel_versions(remote, machine).items()
            if remote[module] != own.number
        }

    def news(self, remote: Mapping[str, str], machine: Machine) -> tuple[str, ...]:
        """Sentences about packages of the returned values whose versions differ, each shown once."""
        unlike = self.unlike(remote, machine)
        new = [module for module in unlike if module not in self._known | self._reported]
        self._reported.update(new)
        return tuple(f"{unlike[module]}." for module in new)


def _kernel_versions(modules: Iterable[str], machine: Machine) -> dict[str, Version]:
    """The kernel's versions of modules, each with whether the image installs the kernel's version."""
    preset = PRESETS.get(machine.image)
    brought = preset.brings if preset else ()
    return {
        module: Version(distribution_of(module), number, distribution_of(module) not in brought)
        for module, number in installed(modules).items()
    }
