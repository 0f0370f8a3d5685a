"""Readings over time: the latest samples of each GPU, and peaks and means over all samples.

Other modules derive advice from the history (a smaller GPU would suffice, a GPU is idle).
"""

from __future__ import annotations

from bisect import bisect_right
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
"""Attributes of a sample for which the history has peak and mean."""

MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(slots=True)
class _Total:
    """One measure of one GPU over all its samples; unknown values do not count."""

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
    """The use of one GPU over a history. None: never known.

    Attributes:
        gpu: identifier of the GPU, see `GpuSample.gpu`.
        name: name of the GPU as nvidia-smi prints it.
        peak_mib: largest memory in use, MiB.
        total_mib: memory of the GPU, MiB.
        mean_utilization: mean utilization, %.
        peak_utilization: largest utilization, %.
        mean_power_w: mean power, W.
        peak_power_w: largest power, W.
        simulated: the numbers are the load of a container without a real GPU.
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
    """The readings of one run or session. One thread adds readings; any thread may read.

    Args:
        capacity: samples kept for each GPU (one per second: an hour); older samples are dropped, peaks and means stay.
    """

    def __init__(self, capacity: int = 3600) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 sample for each GPU, not {capacity}.")
        self._capacity = capacity
        self._samples: dict[str, deque[GpuSample]] = {}
        self._totals: dict[str, dict[Measure, _Total]] = {}

    def add(self, reading: Reading) -> None:
        """Add a reading in the order of time. One older than all samples of a full history is dropped."""
        for sample in reading.samples:
            _insert(self._samples.setdefault(sample.gpu, deque(maxlen=self._capacity)), sample)
            totals = self._totals.setdefault(sample.gpu, {measure: _Total() for measure in MEASURES})
            for measure, total in totals.items():
                total.add(getattr(sample, measure))

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs, as `GpuSample.gpu` identifies them, in the order of their first sample."""
        return tuple(self._samples)

    @property
    def latest(self) -> tuple[GpuSample, ...]:
        """The newest sample of each GPU."""
        return tuple(samples[-1] for samples in list(self._samples.values()))

    @property
    def simulated(self) -> bool | None:
        """Whether all GPUs are simulated, by the newest sample of each; None: no samples."""
        latest = self.latest
        return all(sample.simulated for sample in latest) if latest else None

    def samples(self, gpu: str) -> tuple[GpuSample, ...]:
        """Return the kept samples of a GPU, oldest first; empty: unknown GPU."""
        return tuple(self._samples.get(gpu, ()))

    def peak(self, measure: Measure, gpu: str | None = None) -> float | None:
        """Return the largest value of one GPU or of all; None: never known."""
        peaks = [total.peak for total in self._known(measure, gpu)]
        return max(peaks) if peaks else None

    def mean(self, measure: Measure, gpu: str | None = None) -> float | None:
        """Return the mean of all known values of one GPU or of all together; None: never known."""
        totals = self._known(measure, gpu)
        return sum(total.sum for total in totals) / sum(total.count for total in totals) if totals else None

    @property
    def uses(self) -> tuple[Use, ...]:
        """The use of each GPU, in the order of the first samples."""
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
        """Return the seconds for which the newest samples of a GPU report 0 % utilization; 0: in use or unknown."""
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


def _insert(samples: deque[GpuSample], sample: GpuSample) -> None:
    """Insert a sample by its time, behind those of the same time."""
    if not samples or samples[-1].time <= sample.time:
        samples.append(sample)
        return
    if len(samples) == samples.maxlen:
        if sample.time < samples[0].time:
            return
        samples.popleft()  # a full deque refuses an insertion
    samples.insert(bisect_right(samples, sample.time, key=_time), sample)


def _time(sample: GpuSample) -> float:
    return sample.time
