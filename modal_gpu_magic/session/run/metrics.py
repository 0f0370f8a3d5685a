"""`Session.metrics`: the readings of the session's GPUs, of all runs and of the last run, and GPU faults."""

from __future__ import annotations

import threading
import warnings
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.errors import SetupError
from modal_gpu_magic.metrics.health import HealthEvent, health_events
from modal_gpu_magic.metrics.history import History, Measure
from modal_gpu_magic.metrics.memory_text import GIB, memory_text
from modal_gpu_magic.metrics.sample import GpuSample, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.wire.messages.events import Event

SHOWN: Final[tuple[Measure, ...]] = ("utilization", "memory_used_mib", "power_w")
"""Measures that `plot` draws by default."""

LABELS: Final[dict[Measure, str]] = {
    "utilization": "utilization, %",
    "memory_utilization": "memory utilization, %",
    "memory_used_mib": "memory, GiB",
    "power_w": "power, W",
    "temperature_c": "temperature, °C",
    "clock_sm_mhz": "SM clock, MHz",
}


class Metrics(History):
    """The readings of a session's GPUs on all nodes, with peaks and means over the whole session.

    Attributes:
        run: the readings of the current or last run, taken while the cell's code ran.
        health: GPU faults that Modal reported, each once, in the order of arrival.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run = History()
        self.health: tuple[HealthEvent, ...] = ()
        self._watchers: list[Callable[[Reading | None], None]] = []
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Begin a run: empty `run`."""
        self.run = History()

    def take(self, event: Event) -> Reading:
        """Store the reading of a `sample` event; callable from any thread."""
        content = event.content
        beside = {key: content[key] for key in ("host", "processes") if key in content}
        reading = Reading.of(content["rows"], content["time"], content["node"], **beside)
        with self._lock:
            self.add(reading)
            if content["running"] and not content.get("late"):
                self.run.add(reading)
        if reading.samples:
            self.tell(reading)
        return reading

    def watch(self, watcher: Callable[[Reading | None], None]) -> Callable[[], None]:
        """Call `watcher` with every new reading, and with None when a run of the session begins or ends.

        `watcher` is called from any thread and must return quickly. Returns a function that removes it.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def tell(self, reading: Reading | None = None) -> None:
        """Call the watchers with a new reading, or with None when the status of the session changes."""
        for watcher in tuple(self._watchers):
            _call(watcher, reading)

    def faults(self, text: str) -> tuple[HealthEvent, ...]:
        """Store and return the new GPU faults that a log or an output reports."""
        new = tuple(dict.fromkeys(event for event in health_events(text) if event not in self.health))
        self.health += new
        return new

    def since(self, time: float) -> tuple[GpuSample, ...]:
        """The newest sample of each GPU taken since `time`, seconds since the epoch on the container's clock."""
        return tuple(sample for sample in self.latest if sample.time >= time)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame: one row per sample, in the order of time; unknown values are missing, never 0.

        The columns are the attributes of `GpuSample`, `gpu` and `simulated`; `time` is a UTC timestamp.

        Raises:
            SetupError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise SetupError("to_dataframe() needs pandas: run `%pip install pandas`.") from None
        samples = sorted((sample for gpu in self.gpus for sample in self.samples(gpu)), key=lambda each: each.time)
        columns = [*(each.name for each in fields(GpuSample)), "gpu", "simulated"]
        rows = [{**asdict(sample), "gpu": sample.gpu, "simulated": sample.simulated} for sample in samples]
        frame = pd.DataFrame(rows, columns=columns)
        frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True)
        return frame

    def plot(self, *measures: Measure) -> Any:
        """Draw measures over time, one line per GPU; return matplotlib's axes, one per measure.

        Args:
            measures: attributes of `GpuSample`; none given: utilization, memory and power, if known.

        Raises:
            SetupError: matplotlib is not installed, or no GPU has been read.
        """
        try:
            from matplotlib import pyplot as plt
        except ImportError:
            raise SetupError("plot() needs matplotlib: run `%pip install matplotlib`.") from None
        drawn = measures or tuple(measure for measure in SHOWN if self.peak(measure) is not None)
        if not drawn or not self.gpus:
            raise SetupError("no data to draw: no GPU of this session has been read.")
        _, rows = plt.subplots(len(drawn), 1, sharex=True, squeeze=False, figsize=(8, 2.2 * len(drawn)))
        axes = [row[0] for row in rows]
        for measure, axis in zip(drawn, axes, strict=True):
            self._draw(axis, measure)
        axes[0].legend(loc="upper left", fontsize="small")
        axes[-1].set_xlabel("seconds")
        if any(sample.simulated for sample in self.latest):
            axes[0].set_title("simulated: load and memory of this machine")
        return axes

    def _draw(self, axis: Any, measure: Measure) -> None:
        first = min(samples[0].time for gpu in self.gpus if (samples := self.samples(gpu)))
        for gpu in self.gpus:
            samples = self.samples(gpu)
            scale = GIB if measure == "memory_used_mib" else 1
            values = [None if (value := getattr(sample, measure)) is None else value / scale for sample in samples]
            label = f"{samples[-1].name or 'GPU'} {samples[-1].index if samples[-1].index is not None else ''}"
            axis.plot(
                [sample.time - first for sample in samples],
                [float("nan") if value is None else value for value in values],
                label=label.strip(),
            )
        axis.set_ylabel(LABELS[measure])
        axis.set_ylim(bottom=0)

    def __repr__(self) -> str:
        """`<metrics of 2 GPUs: 240 samples, peak 9.8 GiB, mean 76 %>`."""
        if not self.gpus:
            return "<metrics: no GPU has been read yet>"
        samples, count = sum(len(self.samples(gpu)) for gpu in self.gpus), len(self.gpus)
        words = [f"{samples} sample{'' if samples == 1 else 's'}"]
        peak, mean = self.peak("memory_used_mib"), self.mean("utilization")
        words += [f"peak {memory_text(peak)}"] if peak is not None else []
        words += [f"mean {mean:.0f} %"] if mean is not None else []
        faults = len(self.health)
        words += [f"{faults} fault{'' if faults == 1 else 's'}"] if faults else []
        kind = "simulated GPU" if all(sample.simulated for sample in self.latest) else "GPU"
        return f"<metrics of {count} {kind}{'' if count == 1 else 's'}: {', '.join(words)}>"


def _call(watcher: Callable[[Reading | None], None], reading: Reading | None) -> None:
    """Call one watcher. An error becomes a warning, so that the run and the event reader continue."""
    try:
        watcher(reading)
    except Exception as error:  # noqa: BLE001 - a user's `observe` may raise anything
        warnings.warn(f"a callback for GPU readings failed: {error!r}", RuntimeWarning, stacklevel=2)
