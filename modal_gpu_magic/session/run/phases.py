"""The phases of a container's life during a run, with the time that each took. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.wire.messages.events import RunPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Mark = tuple[RunPhase, float]
"""A phase and the time when it began."""
NOT_BILLED: Final[frozenset[RunPhase]] = frozenset({"waiting"})
"""Phases before a container exists, or before it has the request."""


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


def seconds_of(phases: Iterable[PhaseTime], phase: RunPhase) -> float | None:
    """Return the seconds of a phase; None: the run did not reach it."""
    return next((each.seconds for each in phases if each.phase == phase), None)


def billed_seconds(phases: Iterable[PhaseTime]) -> float:
    """Return the seconds that Modal bills."""
    return sum(each.seconds for each in phases if each.is_billed)


def phase_times(begins: Sequence[Mark], end: float) -> tuple[PhaseTime, ...]:
    """Return each phase once, in the order of its first begin, from the times when phases began.

    Args:
        begins: phases with the times when they began, in order; a phase may come several times.
        end: end of the last phase.
    """
    seconds: dict[RunPhase, float] = {}
    latest = begins[0][1] if begins else end
    for place, (phase, _) in enumerate(begins):
        following = begins[place + 1][1] if place + 1 < len(begins) else end
        ended = max(latest, min(following, end))
        seconds[phase] = seconds.get(phase, 0.0) + ended - latest
        latest = ended
    return tuple(PhaseTime(phase, each) for phase, each in seconds.items())
