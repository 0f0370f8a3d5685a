"""The notebook's side of the versions: what the container is told, and what its answer says of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.wire.messages.versions import Version, distribution_of, installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.plan.machine.definition import Machine


class Versions:
    """Which packages the session's container has been told of, and which differences were said."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._said: set[str] = set()
        self._sent: set[str] = set()

    def outgoing(self, modules: Iterable[str], machine: Machine) -> dict[str, Version]:
        """By module, the versions of the packages whose objects are among the values, less those told before."""
        new = _ours({each.partition(".")[0] for each in modules} - self._told, machine)
        self._sent = set(new)
        return new

    def arrived(self) -> None:
        """The container has what was sent last, and has said what differs."""
        self._told |= self._sent
        self._sent = set()

    def forget(self) -> None:
        """The container is gone."""
        self._told.clear()
        self._said.clear()
        self._sent.clear()

    def unlike(self, there: Mapping[str, str], machine: Machine) -> dict[str, str]:
        """By module, the clause about each package of the results that differs."""
        return {
            module: ours.unlike(there[module])
            for module, ours in _ours(there, machine).items()
            if there[module] != ours.number
        }

    def news(self, there: Mapping[str, str], machine: Machine) -> tuple[str, ...]:
        """Sentences about packages of the results that differ, as far as neither side has said it."""
        unlike = self.unlike(there, machine)
        new = [module for module in unlike if module not in self._told | self._said]
        self._said.update(new)
        return tuple(f"{unlike[module]}." for module in new)


def _ours(modules: Iterable[str], machine: Machine) -> dict[str, Version]:
    """The notebook's versions, each with whether the image takes it."""
    preset = PRESETS.get(machine.image)
    brought = preset.brings if preset else ()
    return {
        module: Version(distribution_of(module), number, distribution_of(module) not in brought)
        for module, number in installed(modules).items()
    }
