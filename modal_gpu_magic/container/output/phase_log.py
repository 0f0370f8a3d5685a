"""What the container does for a run, from the request to the answer, with the time when each phase began."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.wire.messages.events import RunPhase


class PhaseLog:
    """The phases of the current run. Each begin is an event, which travels with the run's other events.

    Attributes:
        began: each phase with the time when it began, in Unix seconds.
    """

    def __init__(self, sender: EventSender) -> None:
        self.began: tuple[tuple[RunPhase, float], ...] = ()
        self._sender = sender

    def clear(self) -> None:
        """Begin a run."""
        self.began = ()

    def enter(self, phase: RunPhase, subject: str = "", *, at: float | None = None) -> None:
        """Begin a phase; of the same phase again, only the time is set.

        Args:
            phase: the phase.
            subject: what it is about, such as the packages.
            at: when it began, in Unix seconds; None: now.
        """
        at = time.time() if at is None else at
        if self.began and self.began[-1][0] == phase:
            self.began = (*self.began[:-1], (phase, at))
            return
        self.began = (*self.began, (phase, at))
        self._sender.emit("phase", phase=phase, subject=subject, time=at)
