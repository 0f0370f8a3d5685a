"""The Volumes of a container around a cell: the latest that others committed before it, all that it wrote after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Act = Callable[[], object]
    Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Volumes:
    """What reloads and what commits each Volume, by name. Neither ever fails the cell: what went wrong is said."""

    reloads: Mapping[str, Act] = field(default_factory=dict)
    commits: Mapping[str, Act] = field(default_factory=dict)

    def reload(self, say: Say) -> None:
        """See what others have committed. Modal refuses it while a file of the Volume is open."""
        for name, act in self.reloads.items():
            try:
                act()
            except Exception as error:  # noqa: BLE001 - whatever Modal raises
                say(f"Volume {name} was not reloaded, so the cell sees it as it was: {_line(error)}")

    def commit(self, say: Say) -> None:
        """Make what the cell wrote last; also after an error and after a stop."""
        for name, act in self.commits.items():
            try:
                act()
            except Exception as error:  # noqa: BLE001 - whatever Modal raises
                say(f"Volume {name} could not be committed; Modal does it when the container ends: {_line(error)}")


NO_VOLUMES = Volumes()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
