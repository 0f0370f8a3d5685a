"""What a session's readings say of its machine: which GPUs arrived, what is billed for them, what would have done."""

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
    """A machine as it turned out.

    Attributes:
        got: what arrived, by the catalog's name; None: not read yet, or not known to it.
        billed: the spec of those asked for that is paid for; None: not known, or a container without GPUs.
        hourly: USD for that container, or for all nodes of a cluster; None: not known.
        peak_mib: the most memory in use on any of the GPUs since the container started, MiB; None: never read.
        advice: a cheaper GPU that would have held that. None for simulated ones: their memory is this machine's.
        simulated: the GPUs are not there.
    """

    got: GpuSpec | None
    billed: GpuSpec | None
    hourly: float | None
    peak_mib: float | None
    advice: advice.Advice | None
    simulated: bool


def sizing(machine: Machine, metrics: Metrics, backend: str, answer: Answer | None) -> Sizing:
    """What is known at the end of a run."""
    seen = metrics.since(answer.booted_at) if answer else metrics.run.latest
    own = tuple(sample for sample in seen if sample.node == seen[0].node)
    guess = backend == "local" and bool(machine.gpus)
    simulated = answer.simulated if answer else all(sample.simulated for sample in seen) if seen else guess
    got = None if simulated or not own else advice.arrived(own[0].name, own[0].memory_total_mib, len(own))
    billed = _billed(machine.gpus, backend, own)
    cost = None if billed is None and machine.gpus else quote(billed, cpu=machine.cpu, memory_mib=machine.memory)
    peaks = [metrics.peak("memory_used_mib", sample.gpu) for sample in seen]
    known = [peak for peak in peaks if peak is not None]
    peak = max(known) if known and len(known) == len(peaks) else None
    smaller = advice.smaller(got, billed, peak) if got and billed and peak is not None else None
    node = cost.per_hour if cost else None
    return Sizing(got, billed, None if node is None else node * machine.nodes, peak, smaller, simulated)


def _billed(specs: Sequence[GpuSpec], backend: str, own: Sequence[GpuSample]) -> GpuSpec | None:
    """Of several specs, the one that arrived; the local backend stands for the first."""
    if len(specs) <= 1 or backend == "local":
        return specs[0] if specs else None
    if not own or own[0].name is None:
        return None
    memory = own[0].memory_total_mib
    return billed_as(specs, own[0].name, None if memory is None else round(memory), len(own))
