"""The phases of a container's life during a run, with the time that each took. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RunPhase = Literal["waiting", "starting", "installing", "starting ranks", "running", "saving"]

NOT_BILLED: Final[frozenset[RunPhase]] = frozenset({"waiting"})
"""Phases before a container exists."""


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """The time of one phase of a run.

    Attributes:
        phase: what the container did.
        seconds: how long, seconds.
    """

    phase: RunPhase
    seconds: float

    @property
    def is_billed(self) -> bool:
        """Whether Modal bills the phase: a container exists."""
        return self.phase not in NOT_BILLED
