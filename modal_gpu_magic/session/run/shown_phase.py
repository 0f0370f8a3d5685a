"""The phase of a run that the front shows: since when, of what, and what is said beside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from modal_gpu_magic.session.run.front import Front, Phase
    from modal_gpu_magic.session.run.status import Status
    from modal_gpu_magic.wire.messages.events import Request

BEFORE_RUNNING = ("sending", "waiting", "starting")
"""Phases before the container's first event."""
LARGE_BYTES = 1_000_000
"""Size of the values, bytes, from which the status says that they are sent."""


class ShownPhase:
    """The present phase.

    Args:
        request: the run.
        machine: the machine's title, the subject of most phases.
        front: shows the phase.
        status: the session's status, which has the phase and the cost.
    """

    def __init__(self, request: Request, machine: str, front: Front, status: Status) -> None:
        self._machine, self._front, self._status = machine, front, status
        self.name, self._subject = _first_phase(request, machine)
        self._since, self._detail = time.monotonic(), ""
        self._before_outage: tuple[Phase, float, str, str] | None = None

    @property
    def is_before_running(self) -> bool:
        """Whether no event of the container has arrived."""
        return self.name in BEFORE_RUNNING

    def enter(self, phase: Phase, detail: str = "", subject: str = "") -> None:
        """Show another phase, or more about the present one."""
        if phase != self.name or detail:
            self.name, self._since, self._detail = phase, time.monotonic(), detail
            self._subject = subject or self._machine
            self._status.enters(phase)
            self.show()

    def show(self) -> None:
        """Show the phase with its time and the cost so far."""
        seconds = time.monotonic() - self._since
        self._front.show(self._status.state(self.name, self._subject, seconds, self._detail))

    def explain(self, detail: str) -> None:
        """Say more about the phase from the next `show` on."""
        self._detail = detail

    def began_at(self, since: float) -> None:
        """Count the phase from an earlier moment, seconds since the epoch."""
        self._since = min(self._since, time.monotonic() - (time.time() - since))

    def interrupt(self, detail: str) -> None:
        """Show that the connection is lost."""
        if self.name != "reconnecting":
            self._before_outage = self.name, self._since, self._subject, self._detail
            self.enter("reconnecting", detail)

    def resume(self) -> None:
        """Show the phase from before the connection was lost, and count on."""
        if self.name == "reconnecting" and self._before_outage is not None:
            self.name, self._since, self._subject, self._detail = self._before_outage
            self._status.enters(self.name)
            self.show()


def _first_phase(request: Request, machine: str) -> tuple[Phase, str]:
    """Return the first phase of a run, and its subject: large values are sent before Modal has the run."""
    if request.store is None and request.values.nbytes >= LARGE_BYTES:
        return "sending", size_text(request.values.nbytes)
    return "waiting", machine
