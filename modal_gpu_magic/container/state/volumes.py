"""The Volumes of a container around a cell: the latest that others committed before it, all that it wrote after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Act = Callable[[], object]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Volumes:
    """What reloads and what commits each Volume, by name. Neither ever fails the cell: what went wrong is said."""

    reloads: Mapping[str, Act] = field(default_factory=dict)
    commits: Mapping[str, Act] = field(default_factory=dict)

    def reload(self, say: Say) -> None:
        """See what others have committed. Modal refuses it while a file of the Volume is open."""
        _each(self.reloads, "was not reloaded, so the cell sees it as it was", say)

    def commit(self, say: Say) -> None:
        """Make what the cell wrote last; also after an error and after a stop."""
        _each(self.commits, "could not be committed; Modal does it when the container ends", say)


NO_VOLUMES = Volumes()


def _each(acts: Mapping[str, Act], failed: str, say: Say) -> None:
    for name, act in acts.items():
        why = _attempt(act)
        if why is not None:
            say(f"Volume {name} {failed}: {why}")


def _attempt(act: Act) -> str | None:
    """Why it did not work, in one line; None: it did."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever Modal raises
        return " ".join(str(error).split()) or type(error).__name__
    return None
