"""Parse nvidia-smi's output: one `GpuSample` per row, one `Reading` per tick, tolerant of other text.

Pure: the container starts nvidia-smi, and `metrics.history` records readings. A value that is not a number is unknown
(None), never 0, because a GPU that does not report its utilization is not idle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.metrics.clocks import slowdowns
from modal_gpu_magic.metrics.host import HostSample
from modal_gpu_magic.metrics.processes import GpuProcess, processes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

QUERY = (
    *("index", "uuid", "utilization.gpu", "utilization.memory", "memory.used", "memory.total", "power.draw"),
    *("power.limit", "temperature.gpu", "clocks.sm", "clocks.max.sm", "pstate", "pcie.link.gen.current"),
    *("pcie.link.width.current", "mig.mode.current", "clocks_event_reasons.active", "driver_version", "name"),
)
"""Fields of `nvidia-smi --query-gpu`. The name is last, because it may contain unquoted commas."""

OLD_QUERY = tuple(field.replace("clocks_event_reasons", "clocks_throttle_reasons") for field in QUERY)
"""The fields by their names in drivers before 535."""

SHORT_QUERY = ("index", "uuid", "utilization.gpu", "memory.used", "memory.total", "name")
"""Fields of every driver, queried after the full query fails, because one unknown field fails a query."""


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one time. None: unknown, because not queried, not supported, or not reported.

    Attributes:
        time: time of the reading, seconds on the reader's clock.
        index: number of the GPU in its container; may not start at 0.
        uuid: `GPU-...`, which identifies the GPU.
        name: `NVIDIA H100 80GB HBM3`.
        utilization: time in which a kernel ran, % of the last sample period.
        memory_utilization: time in which memory was accessed, % of the last sample period.
        memory_used_mib: memory in use, MiB.
        memory_total_mib: memory of the GPU, MiB.
        power_w: power, W.
        power_limit_w: power limit, W.
        temperature_c: temperature, °C.
        clock_sm_mhz: clock of the SMs, MHz.
        clock_sm_max_mhz: maximum clock of the SMs, MHz.
        pstate: `P0` (fastest) to `P15`.
        pcie_generation: current generation of the PCIe link, which an idle GPU lowers.
        pcie_width: current width of the PCIe link, lanes.
        mig: `Enabled` or `Disabled`; None: not supported.
        clock_reasons: NVML's clock event bits; 0: no reason.
        driver: version of the driver.
        node: number of the GPU's container in a cluster.
    """

    time: float = 0.0
    index: int | None = None
    uuid: str | None = None
    name: str | None = None
    utilization: float | None = None
    memory_utilization: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    clock_sm_mhz: float | None = None
    clock_sm_max_mhz: float | None = None
    pstate: str | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    mig: str | None = None
    clock_reasons: int | None = None
    driver: str | None = None
    node: int = 0

    def __post_init__(self) -> None:
        """Check that all numbers are finite and not negative.

        Raises:
            ValueError: a number is negative or not finite.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and each.name != "time" and not (isfinite(value) and value >= 0):
                raise ValueError(f"{each.name} is {value}; a reading must be finite and not negative, or None.")

    @property
    def gpu(self) -> str:
        """The identifier of the GPU: the uuid, else node and index; empty: neither was queried."""
        number = "" if self.index is None else str(self.index)
        return self.uuid or (f"{self.node}/{number}" if self.node else number)

    @property
    def slowdowns(self) -> tuple[str, ...]:
        """The faults that slow the GPU down: `SW thermal slowdown`; empty: none, or unknown."""
        return slowdowns(self.clock_reasons or 0)

    @property
    def throttled(self) -> bool | None:
        """Whether a fault slows the GPU down; None: unknown."""
        return None if self.clock_reasons is None else bool(self.slowdowns)

    @property
    def simulated(self) -> bool:
        """Whether the local control plane simulated the numbers from the container's load."""
        return self.driver == "simulated"


@dataclass(frozen=True, slots=True)
class Reading:
    """The samples of one tick, one for each GPU.

    Attributes:
        samples: one for each GPU; empty: the container has no GPU.
        host: the container's CPU, memory, disk and network; None: not read at this tick.
        processes: the processes that use the GPUs, as far as nvidia-smi lists them.
        moment: time of a reading without samples, seconds.
        container: number of the container in its cluster, of a reading without samples.
    """

    samples: tuple[GpuSample, ...]
    host: HostSample | None = None
    processes: tuple[GpuProcess, ...] = ()
    moment: float = field(default=0.0, compare=False)
    container: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        """Check that the tick has a sample, or figures of the container.

        Raises:
            ValueError: neither is given.
        """
        if not self.samples and self.host is None:
            raise ValueError("a reading needs at least one sample; if nvidia-smi printed none, make no reading.")

    @property
    def time(self) -> float:
        """The time of the reading, seconds."""
        return self.samples[0].time if self.samples else self.moment

    @property
    def node(self) -> int:
        """The number of the container in its cluster."""
        return self.samples[0].node if self.samples else self.container

    def at(self, time: float) -> Reading:
        """Return a copy with another time."""
        return replace(self, samples=tuple(replace(sample, time=time) for sample in self.samples), moment=time)

    @property
    def rows(self) -> tuple[tuple[Any, ...], ...]:
        """The samples as plain tuples, to send from the container to the kernel."""
        return tuple(tuple(getattr(sample, name) for name in _SENT_FIELDS) for sample in self.samples)

    @property
    def beside(self) -> dict[str, Any]:
        """What is known beside the GPUs' rows, as plain values: `host` and `processes`; without unknown ones."""
        rows = tuple(process.row for process in self.processes)
        return {**({"host": self.host.row} if self.host else {}), **({"processes": rows} if rows else {})}

    @classmethod
    def of(
        cls,
        rows: Iterable[tuple[Any, ...]],
        time: float,
        node: int = 0,
        *,
        host: Sequence[float | None] | None = None,
        processes: Sequence[Sequence[object]] = (),
    ) -> Reading:
        """Create a reading from `rows`, with `time` and the number of the container in its cluster.

        A container of another version may send rows with fewer or more values: a missing value is unknown, and a
        surplus one is ignored.

        Args:
            rows: `Reading.rows`.
            time: time of the reading.
            node: number of the container in its cluster.
            host: `host` of `Reading.beside`.
            processes: `processes` of `Reading.beside`.

        Raises:
            ValueError: neither rows nor `host`, or an invalid number.
        """
        samples = (GpuSample(time=time, node=node, **dict(zip(_SENT_FIELDS, row, strict=False))) for row in rows)
        own = None if host is None else HostSample.of(host)
        return cls(tuple(samples), own, processes_of(processes), time, node)


_SENT_FIELDS = tuple(each.name for each in fields(GpuSample) if each.name not in ("time", "node"))
"""Attributes of a sample in `Reading.rows`, in the order of GpuSample's arguments."""


# -- one row -----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(?: ?(?:%|MiB|W|MHz|C))?")


def _number(text: str) -> float | None:
    """Parse a number with or without unit (old drivers print units in spite of `nounits`)."""
    found = _NUMBER.fullmatch(text)
    return float(found[1]) if found else None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _bits(text: str) -> int | None:
    return int(text, 16) if re.fullmatch(r"0x[0-9A-Fa-f]{1,16}", text) else None


def _matching(pattern: str) -> Callable[[str], str | None]:
    return lambda text: text if re.fullmatch(pattern, text) else None


_FIELDS: dict[str, tuple[str, Callable[[str], int | float | str | None]]] = {
    "index": ("index", _count),
    "uuid": ("uuid", _matching(r"(GPU|MIG)-\S+")),
    "gpu_uuid": ("uuid", _matching(r"(GPU|MIG)-\S+")),
    "name": ("name", _matching(r"(?!\[|N/A$|ERR!$).+")),
    "gpu_name": ("name", _matching(r"(?!\[|N/A$|ERR!$).+")),
    "utilization.gpu": ("utilization", _number),
    "utilization.memory": ("memory_utilization", _number),
    "memory.used": ("memory_used_mib", _number),
    "memory.total": ("memory_total_mib", _number),
    "power.draw": ("power_w", _number),
    "power.limit": ("power_limit_w", _number),
    "temperature.gpu": ("temperature_c", _number),
    "clocks.sm": ("clock_sm_mhz", _number),
    "clocks.current.sm": ("clock_sm_mhz", _number),
    "clocks.max.sm": ("clock_sm_max_mhz", _number),
    "pstate": ("pstate", _matching(r"P[0-9]{1,2}")),
    "pcie.link.gen.current": ("pcie_generation", _count),
    "pcie.link.width.current": ("pcie_width", _count),
    "clocks_event_reasons.active": ("clock_reasons", _bits),
    "clocks_throttle_reasons.active": ("clock_reasons", _bits),
    "mig.mode.current": ("mig", _matching(r"Enabled|Disabled")),
    "driver_version": ("driver", _matching(r"[\w.]+")),
}
"""By query field, the attribute of a sample and the parser of its text. Other fields are ignored."""

_HEADER_CELL = re.compile(r"([a-z][a-z0-9_.]*)(?: \[[^\]]*\])?")


def _header(cells: list[str]) -> tuple[str, ...]:
    """Return the fields of a header line; empty: another line."""
    found = [_HEADER_CELL.fullmatch(cell) for cell in cells]
    names = tuple(match[1] for match in found if match)
    return names if len(names) == len(cells) and any(name in _FIELDS for name in names) else ()


def _sample(cells: list[str], query: tuple[str, ...], time: float) -> GpuSample | None:
    """Parse a row; None: a warning, an error, or an incomplete row."""
    surplus = len(cells) - len(query)
    name = next((query.index(each) for each in ("name", "gpu_name") if each in query), None)
    if surplus > 0 and name is not None:  # commas in the name
        cells = [*cells[:name], ", ".join(cells[name : name + surplus + 1]), *cells[name + surplus + 1 :]]
    if len(cells) != len(query):
        return None
    values: dict[str, Any] = {}
    for column, cell in zip(query, cells, strict=True):
        if column in _FIELDS:
            attribute, read = _FIELDS[column]
            values[attribute] = read(cell)
    known = any(value is not None for value in values.values())
    return GpuSample(time=time, **values) if known else None


# -- a stream of rows --------------------------------------------------------------------------------------------------


class SampleReader:
    """Parses nvidia-smi's output from chunks of any size and returns complete readings.

    A tick is complete after the row of the last GPU; while the number of GPUs is unknown, when a GPU occurs again.

    Args:
        query: the queried fields, in order; a header line in the text replaces them.
        gpus: number of GPUs, so that the first tick is complete without the second; None: unknown.
    """

    def __init__(self, query: tuple[str, ...] = QUERY, gpus: int | None = None) -> None:
        self._query = query
        self._line = ""
        self._tick: list[GpuSample] = []
        self._places: dict[str, int] = {}
        self._last_place = gpus - 1 if gpus else None

    def feed(self, text: str, time: float = 0.0) -> list[Reading]:
        """Parse a chunk and return the completed readings; `time` is the time of the chunk's rows, seconds."""
        *lines, self._line = (self._line + text).split("\n")
        return [reading for line in lines for reading in self._row(line, time)]

    def finish(self, time: float = 0.0, *, killed: bool = False) -> list[Reading]:
        """Return the last readings after nvidia-smi has ended.

        Args:
            time: time of the last rows, seconds.
            killed: nvidia-smi was killed, so that a line without line break is incomplete.
        """
        line, self._line = "" if killed else self._line, ""
        return [*self._row(line, time), *self._complete()]

    def _row(self, line: str, time: float) -> list[Reading]:
        cells = [cell.strip() for cell in line.split(",")]
        if header := _header(cells):
            self._query = header
            return []
        sample = _sample(cells, self._query, time)
        return self._place(sample) if sample else []

    def _place(self, sample: GpuSample) -> list[Reading]:
        """Add a row to its tick. nvidia-smi always lists the GPUs in the same order."""
        place = self._places.setdefault(sample.gpu, len(self._places))
        ended = []
        if self._tick and place <= self._places[self._tick[-1].gpu]:
            ended = self._complete()
        self._tick.append(sample)
        if self._last_place is not None and place >= self._last_place:
            ended += self._complete()
        return ended

    def _complete(self) -> list[Reading]:
        if not self._tick:
            return []
        reading, self._tick = Reading(tuple(self._tick)), []
        self._last_place = len(self._places) - 1
        return [reading]


def parse(text: str, query: tuple[str, ...] = QUERY, time: float = 0.0) -> list[GpuSample]:
    """Return the samples in a complete output of nvidia-smi. Never raises; other lines are ignored."""
    reader = SampleReader(query)
    return [sample for reading in (*reader.feed(text, time), *reader.finish(time)) for sample in reading.samples]
