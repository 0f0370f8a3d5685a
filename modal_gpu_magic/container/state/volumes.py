"""Reload a container's Volumes before a cell, and commit the cell's changes after the cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modal_gpu_magic.wire.values.own_code import words_of

Act = Callable[[], object]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Volumes:
    """The actions that reload and commit each Volume. A failure is reported with `say` and never fails the cell.

    Attributes:
        reloads: actions that reload a Volume, by its name.
        commits: actions that commit a Volume, by its name.
    """

    reloads: Mapping[str, Act] = field(default_factory=dict)
    commits: Mapping[str, Act] = field(default_factory=dict)

    def reload(self, say: Say) -> None:
        """Reload all Volumes to see others' commits. Modal refuses this while a file of the Volume is open."""
        _each(self.reloads, "was not reloaded, so the cell sees it as it was", say)

    def commit(self, say: Say) -> None:
        """Commit the cell's changes, also after an error or a stop."""
        _each(self.commits, "could not be committed; Modal does it when the container ends", say)


NO_VOLUMES = Volumes()


def _each(acts: Mapping[str, Act], failed: str, say: Say) -> None:
    for name, act in acts.items():
        why = _attempt(act)
        if why is not None:
            say(f"Volume {name} {failed}: {why}")


def _attempt(act: Act) -> str | None:
    """Run `act`; return its error in one line, or None."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - Modal raises various errors, and its transport `CancelledError`
        return " ".join(words_of(error).split()) or type(error).__name__
    return None
