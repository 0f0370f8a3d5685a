"""The container's side of the versions: those the notebook told are compared with what is installed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.wire.messages.versions import explained, installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.wire.messages.versions import Version


class Versions:
    """What differs, for as long as this container lives."""

    def __init__(self) -> None:
        self.unlike: dict[str, str] = {}
        """By module, the clause about it."""

    def compare(self, told: Mapping[str, Version]) -> tuple[str, ...]:
        """The sentences about packages that the notebook has in another version. Each package is told once."""
        there = installed(told)
        new = {
            module: each.unlike(there[module])
            for module, each in told.items()
            if module in there and there[module] != each.number
        }
        self.unlike.update(new)
        return tuple(f"{clause}." for clause in new.values())

    def explain(self, failed: Mapping[str, str]) -> dict[str, str]:
        """The reasons of values that could not be made, each with the versions that may be to blame."""
        return {name: explained(why, self.unlike) for name, why in failed.items()}

    @staticmethod
    def of(modules: Iterable[str]) -> dict[str, str]:
        """The versions here of the packages whose objects go home."""
        return installed(modules)
