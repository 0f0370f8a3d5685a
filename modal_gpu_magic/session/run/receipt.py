"""The receipt of a run: its machine, GPUs, times and cost. `ui.fronts.receipt` formats it as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modal_gpu_magic.metrics.history import History, Use
from modal_gpu_magic.plan.machine.advice import Advice
from modal_gpu_magic.session.run.phases import PhaseTime, billed_seconds

Outcome = Literal["done", "failed", "stopped", "timed out", "lost"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The facts of one run. None: not known, shown as `–`.

    Attributes:
        outcome: how the run ended.
        asked: the specs of the header, `H100:2 A100-80GB`; `CPU` without any.
        backend: `cloud` or `local`.
        simulated: whether the GPUs were simulated: `local` without an NVIDIA driver.
        waited: time from the spawn to the container's start, or in a running one to its phases, seconds.
        started: start-up time of a container that was started for the run, seconds.
        ran: run time of the user's code, seconds.
        hourly: billed price, USD per hour; an H200 that Modal gives for an H100 is billed as an H100.
        idle_seconds: idle time after which the container ends, seconds.
        ended_at: end of the run, seconds since the epoch.
        prices: whose prices these are, with their date: `prices of 2026-09-01`.
        sent_bytes: size of the sent values, bytes.
        received_bytes: size of the returned values, bytes.
        stays: names whose values stayed in the container, each with the reason.
        wrote: files that the cell wrote outside Volumes, largest first: path and bytes. They end with the container.
        session: name of the session whose container has the files.
        got: the GPUs that arrived, `H200:2`; Modal may give better GPUs than the header asks for.
        uses: use of each GPU while the cell ran; empty for most cells shorter than one second.
        readings: the readings of the GPUs while the cell ran.
        advice: a cheaper GPU with enough memory for the session so far.
        phases: the phases of the run in order, with their times; empty: not known.
        is_left: whether the run goes on without this kernel, which has no connection to it.
        at_most: what a cell of a detached session costs at most, in words; empty: the session ends with the kernel.
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
    prices: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0
    stays: tuple[tuple[str, str], ...] = ()
    wrote: tuple[tuple[str, int], ...] = ()
    session: str = "default"
    got: str | None = None
    uses: tuple[Use, ...] = ()
    readings: History = field(default_factory=History, compare=False)
    advice: Advice | None = None
    phases: tuple[PhaseTime, ...] = ()
    at_most: str = ""
    is_left: bool = False

    @property
    def cost(self) -> float | None:
        """Estimated cost of all billed phases at the list price, USD. For a local run, the price on Modal."""
        if self.hourly is None or (self.ran is None and not self.phases):
            return None
        billed = billed_seconds(self.phases) if self.phases else (self.ran or 0.0) + (self.started or 0.0)
        return self.hourly * billed / 3600

    @property
    def phase_seconds(self) -> dict[str, float]:
        """Time of each phase in order, seconds; empty: not known."""
        if self.phases:
            seconds: dict[str, float] = {}
            for each in self.phases:
                seconds[each.phase] = seconds.get(each.phase, 0.0) + each.seconds
            return seconds
        known = {"waiting": self.waited, "starting": self.started, "running": self.ran}
        return {phase: seconds for phase, seconds in known.items() if seconds is not None}

    @property
    def idle_cost(self) -> float | None:
        """Cost of the whole idle time, USD."""
        return None if self.hourly is None else self.hourly * self.idle_seconds / 3600
