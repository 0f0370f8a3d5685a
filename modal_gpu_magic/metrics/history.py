"""Readings over time: the latest ones of each GPU, and peaks and means over all there ever were.

What follows from them (a smaller GPU would do, a GPU stands idle) is not decided here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from modal_gpu_magic.metrics.sample import GpuSample, Reading

Measure: TypeAlias = Literal[
    "utilization",
    "memory_utilization",
    "memory_used_mib",
    "power_w",
    "temperature_c",
    "clock_sm_mhz",
]
"""Attributes of a sample that are worth a peak and a mean."""

MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(slots=True)
class _Total:
    """One measure of one GPU over all its samples; what was unknown does not count."""

    count: int = 0
    sum: float = 0.0
    peak: float = 0.0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.count += 1
            self.sum += value
            self.peak = max(self.peak, value)


@dataclass(frozen=True, slots=True)
class Use:
    """What one GPU did over a history. None: it never said.

    Attributes:
        gpu: as `GpuSample.gpu` names it. name: as nvidia-smi prints it.
        peak_mib, total_mib: memory, MiB.
        mean_utilization, peak_utilization: %. mean_power_w, peak_power_w: W.
        simulated: the numbers are the container's own load, not a GPU's.
    """

    gpu: str
    name: str | None = None
    peak_mib: float | None = None
    total_mib: float | None = None
    mean_utilization: float | None = None
    peak_utilization: float | None = None
    mean_power_w: float | None = None
    peak_power_w: float | None = None
    simulated: bool = False


class History:
    """The readings of one run or session. One thread adds; any may look.

    Args:
        capacity: samples kept for each GPU (at one a second, an hour); older ones go, peaks and means stay.
    """

    def __init__(self, capacity: int = 3600) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; a history keeps at least 1 sample of each GPU.")
        self._capacity = capacity
        self._samples: dict[str, deque[GpuSample]] = {}
        self._totals: dict[str, dict[Measure, _Total]] = {}

    def add(self, reading: Reading) -> None:
        """Keep a reading. Readings come in the order of their time."""
        for sample in reading.samples:
            self._samples.setdefault(sample.gpu, deque(maxlen=self._capacity)).append(sample)
            totals = self._totals.setdefault(sample.gpu, {measure: _Total() for measure in MEASURES})
            for measure, total in totals.items():
                total.add(getattr(sample, measure))

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs seen, as `GpuSample.gpu` names them, in the order they were first read."""
        return tuple(self._samples)

    @property
    def latest(self) -> tuple[GpuSample, ...]:
        """The newest sample of each GPU."""
        return tuple(samples[-1] for samples in list(self._samples.values()))

    @property
    def simulated(self) -> bool | None:
        """Whether the GPUs are not there, by the newest sample of each; None: none was read."""
        latest = self.latest
        return all(sample.simulated for sample in latest) if latest else None

    def samples(self, gpu: str) -> tuple[GpuSample, ...]:
        """The samples kept of a GPU, oldest first; empty for one never seen."""
        return tuple(self._samples.get(gpu, ()))

    def peak(self, measure: Measure, gpu: str | None = None) -> float | None:
        """The highest value there ever was, of one GPU or of any; None: never known."""
        peaks = [total.peak for total in self._known(measure, gpu)]
        return max(peaks) if peaks else None

    def mean(self, measure: Measure, gpu: str | None = None) -> float | None:
        """The mean of all known values, of one GPU or of all together; None: never known."""
        totals = self._known(measure, gpu)
        return sum(total.sum for total in totals) / sum(total.count for total in totals) if totals else None

    @property
    def uses(self) -> tuple[Use, ...]:
        """What each GPU did, in the order they were first read."""
        return tuple(self._use(sample) for sample in self.latest)

    def _use(self, latest: GpuSample) -> Use:
        gpu = latest.gpu
        return Use(
            gpu=gpu,
            name=latest.name,
            peak_mib=self.peak("memory_used_mib", gpu),
            total_mib=latest.memory_total_mib,
            mean_utilization=self.mean("utilization", gpu),
            peak_utilization=self.peak("utilization", gpu),
            mean_power_w=self.mean("power_w", gpu),
            peak_power_w=self.peak("power_w", gpu),
            simulated=latest.simulated,
        )

    def idle_seconds(self, gpu: str) -> float:
        """For how long the newest samples of a GPU have said 0 % utilization: 0 if they do not, or do not say."""
        samples = self.samples(gpu)
        since = now = samples[-1].time if samples else 0.0
        for sample in reversed(samples):
            if sample.utilization != 0:
                break
            since = sample.time
        return now - since

    def _known(self, measure: Measure, gpu: str | None) -> list[_Total]:
        totals = list(self._totals.values()) if gpu is None else [self._totals[gpu]] if gpu in self._totals else []
        return [each[measure] for each in totals if each[measure].count]
