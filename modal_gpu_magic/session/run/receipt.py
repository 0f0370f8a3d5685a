"""The receipt of a run: what it asked for, got, took and cost. A value; `ui.fronts.receipt` has its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modal_gpu_magic.metrics.history import Use
from modal_gpu_magic.plan.machine.advice import Advice

Outcome = Literal["done", "failed", "stopped", "timed out", "lost"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one run took. Seconds and dollars; None is unknown and shown as `–`.

    Attributes:
        asked: the specs of the header, `H100:2 A100-80GB`; `CPU` without any.
        got: the GPUs that arrived, `H200:2`; Modal may give more than was asked for.
        uses: what each GPU did while the cell ran; none was read in a cell of less than a second or so.
        advice: a cheaper GPU that would have held what the session needed so far.
        backend: `cloud` or `local`; on `local` without an NVIDIA driver the GPU is simulated.
        waited: from the spawn to the container's start. started: the container's own start-up. ran: the cell itself.
        cost: of start-up and run. hourly: of what is billed; an H200 that came for H100 is billed as an H100.
        idle_seconds: how long the container stays now.
        stays: names that stayed in the container, each with the reason.
        wrote: files the cell wrote outside Volumes, biggest first: path and bytes. They go with the container.
        session: the name of the session that has them.
    """

    outcome: Outcome
    asked: str
    backend: str
    simulated: bool
    waited: float | None = None
    started: float | None = None
    ran: float | None = None
    hourly: float | None = None
    idle_seconds: int = 0
    ended_at: float = 0.0
    price_date: str = ""
    sent_bytes: int = 0
    stays: tuple[tuple[str, str], ...] = ()
    wrote: tuple[tuple[str, int], ...] = ()
    session: str = "default"
    got: str | None = None
    uses: tuple[Use, ...] = ()
    advice: Advice | None = None

    @property
    def cost(self) -> float | None:
        """Dollars for start-up and run at the listed price: an estimate. For a local run, what Modal would take."""
        if self.hourly is None or self.ran is None:
            return None
        return self.hourly * (self.ran + (self.started or 0.0)) / 3600

    @property
    def idle_cost(self) -> float | None:
        """Dollars that waiting for the next cell adds if none comes."""
        return None if self.hourly is None else self.hourly * self.idle_seconds / 3600
