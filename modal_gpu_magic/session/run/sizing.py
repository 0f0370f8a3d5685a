"""Facts of a machine from a session's readings: the GPUs that arrived, their price, the smallest GPU that suffices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine import advice
from modal_gpu_magic.plan.machine.quote import billed_as, quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.metrics.sample import GpuSample
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.session.run.metrics import Metrics
    from modal_gpu_magic.wire.messages.events import Answer


@dataclass(frozen=True, slots=True)
class Sizing:
    """The machine that ran a cell.

    Attributes:
        got: the GPUs that arrived, by the catalog's name; None: not read, or not in the catalog.
        billed: the requested spec that Modal bills; None: not known, or a container without GPUs.
        hourly: price of the container, or of all nodes of a cluster, USD per hour; None: not known.
        peak_mib: peak memory of any GPU since the container started, MiB; None: not read.
        advice: a cheaper GPU with enough memory; None also for simulated GPUs, whose memory is this machine's.
        simulated: whether the GPUs are simulated.
    """

    got: GpuSpec | None
    billed: GpuSpec | None
    hourly: float | None
    peak_mib: float | None
    advice: advice.Advice | None
    simulated: bool


def sizing(machine: Machine, metrics: Metrics, backend: str, answer: Answer | None) -> Sizing:
    """The machine's facts at the end of a run."""
    seen = metrics.since(answer.booted_at) if answer else metrics.run.latest
    own = tuple(sample for sample in seen if sample.node == seen[0].node)
    guess = backend == "local" and bool(machine.gpus)
    simulated = answer.simulated if answer else all(sample.simulated for sample in seen) if seen else guess
    got = None if simulated or not own else advice.arrived(own[0].name, own[0].memory_total_mib, len(own))
    billed = _billed(machine.gpus, backend, own)
    peaks = [metrics.peak("memory_used_mib", sample.gpu) for sample in seen]
    known = [peak for peak in peaks if peak is not None]
    peak = max(known) if known and len(known) == len(peaks) else None
    smaller = advice.smaller(got, billed, peak, machine.region) if got and billed and peak is not None else None
    return Sizing(got, billed, hourly_of(machine, backend, own), peak, smaller, simulated)


def hourly_of(machine: Machine, backend: str, own: Sequence[GpuSample]) -> float | None:
    """Return the price of a machine, all nodes together, USD per hour; None: not known.

    Args:
        machine: the machine.
        backend: `cloud` or `local`.
        own: the latest reading of one node's GPUs; empty: none was read.
    """
    billed = _billed(machine.gpus, backend, own)
    if billed is None and machine.gpus:
        return None
    node = quote(billed, cpu=machine.cpu, memory_mib=machine.memory, region=machine.region).per_hour
    return None if node is None else node * machine.nodes


def _billed(specs: Sequence[GpuSpec], backend: str, own: Sequence[GpuSample]) -> GpuSpec | None:
    """The requested spec that Modal bills: the one that arrived; on the local backend, the first."""
    if len(specs) <= 1 or backend == "local":
        return specs[0] if specs else None
    if not own or own[0].name is None:
        return None
    memory = own[0].memory_total_mib
    return billed_as(specs, own[0].name, None if memory is None else round(memory), len(own))
