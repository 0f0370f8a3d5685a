"""The times of a run from two clocks, the kernel's and the container's, which may be minutes apart. Pure functions.

Each duration is a difference of one clock. What happened in the container is dated in the kernel by the arrival of its
messages, which come later than what they report by the network's delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modal_gpu_magic.wire.messages.events import Answer


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of a run, seconds. None: not known.

    Attributes:
        waited: from the spawn to the container's start, or to the cell's in a container that ran before.
        started: start-up of a container that was started for the run.
        ran: the cell's run.
        booted_at: the container's start, seconds since the epoch on the kernel's clock.
    """

    waited: float | None = None
    started: float | None = None
    ran: float | None = None
    booted_at: float | None = None


NO_TIMES = Times()


def times(answer: Answer | None, spawned_at: float, began_at: float | None, answered_at: float) -> Times:
    """Return the durations of a run.

    Args:
        answer: the answer, whose times are of the container's clock; None: the run ended without one.
        spawned_at: when the run was sent, on the kernel's clock, as the next two.
        began_at: when the event of the cell's begin arrived; None: only the answer tells of it.
        answered_at: when the answer arrived.
    """
    if answer is None:
        return NO_TIMES
    ran = max(0.0, answer.ended_at - answer.started_at)
    if not answer.started_at:
        return Times(ran=ran)
    began = answered_at - ran if began_at is None else min(began_at, answered_at - ran)
    lived = max(0.0, answer.started_at - answer.booted_at)
    is_new = lived < began - spawned_at
    return Times(
        waited=max(0.0, began - spawned_at - (lived if is_new else 0.0)),
        started=lived if is_new else None,
        ran=ran,
        booted_at=began - lived,
    )
