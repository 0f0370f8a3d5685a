"""What nvidia-smi prints, as values: one `GpuSample` a row, one `Reading` a tick, whatever odd text stands in them.

Text and time come in as values; starting nvidia-smi is the container's business, keeping readings is
`metrics.history`'s. What is not a number is unknown (None), never 0: a GPU that cannot say is not an idle one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.metrics.clocks import slowdowns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

QUERY = (
    *("index", "uuid", "utilization.gpu", "utilization.memory", "memory.used", "memory.total", "power.draw"),
    *("power.limit", "temperature.gpu", "clocks.sm", "clocks.max.sm", "pstate", "pcie.link.gen.current"),
    *("pcie.link.width.current", "mig.mode.current", "clocks_event_reasons.active", "driver_version", "name"),
)
"""Fields of `nvidia-smi --query-gpu`. The name is last: it may hold commas, and nvidia-smi does not quote."""

OLD_QUERY = tuple(field.replace("clocks_event_reasons", "clocks_throttle_reasons") for field in QUERY)
"""The same as drivers before 535 call it."""

SHORT_QUERY = ("index", "uuid", "utilization.gpu", "memory.used", "memory.total", "name")
"""What every driver knows. One unknown field fails a whole query, so this one is asked when the full one fails."""


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one moment. None: unknown, because not asked for, not supported, or because the GPU cannot say.

    Attributes:
        time: when it was read, in seconds on the reader's clock.
        index: the GPU's number in its container; not always from 0.
        uuid: `GPU-...`, by which GPUs are told apart. name: `NVIDIA H100 80GB HBM3`.
        utilization, memory_utilization: % of the last sample period in which a kernel ran, or memory was accessed.
        memory_used_mib, memory_total_mib: MiB. power_w, power_limit_w: W. temperature_c: °C.
        clock_sm_mhz, clock_sm_max_mhz: MHz. pstate: `P0` (fastest) to `P15`.
        pcie_generation, pcie_width: of the link as it is now, which an idle GPU turns down.
        mig: `Enabled` or `Disabled`; None: the card cannot. driver: its version.
        clock_reasons: NVML's bits of what holds the clocks down; 0: nothing does.
        node: the container, of a cluster's, that the GPU is in.
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
        """Refuse numbers no GPU has.

        Raises:
            ValueError: a number is negative or not finite.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and each.name != "time" and not (isfinite(value) and value >= 0):
                raise ValueError(f"{each.name} is {value}; a GPU's readings are finite and not negative, or None.")

    @property
    def gpu(self) -> str:
        """What tells GPUs apart: the uuid, else the index in its node; empty if neither was asked for."""
        number = "" if self.index is None else str(self.index)
        return self.uuid or (f"{self.node}/{number}" if self.node else number)

    @property
    def slowdowns(self) -> tuple[str, ...]:
        """What takes speed from it that it should have: `SW thermal slowdown`; none also where it is not known."""
        return slowdowns(self.clock_reasons or 0)

    @property
    def throttled(self) -> bool | None:
        """Whether anything does; None: unknown."""
        return None if self.clock_reasons is None else bool(self.slowdowns)

    @property
    def simulated(self) -> bool:
        """Whether the local control plane's stand-in for nvidia-smi made these numbers up from the container's load."""
        return self.driver == "simulated"


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of one tick: each GPU once."""

    samples: tuple[GpuSample, ...]

    def __post_init__(self) -> None:
        """Refuse a tick without a row.

        Raises:
            ValueError: `samples` is empty.
        """
        if not self.samples:
            raise ValueError("a reading needs at least one sample; if nvidia-smi printed none, make no reading.")

    @property
    def time(self) -> float:
        """When its first row was read."""
        return self.samples[0].time

    def at(self, time: float) -> Reading:
        """The same as read at another time."""
        return Reading(tuple(replace(sample, time=time) for sample in self.samples))

    @property
    def rows(self) -> tuple[tuple[Any, ...], ...]:
        """Its samples as plain tuples, to cross between container and kernel."""
        return tuple(tuple(getattr(sample, name) for name in _CROSSING) for sample in self.samples)

    @classmethod
    def of(cls, rows: Iterable[tuple[Any, ...]], time: float, node: int = 0) -> Reading:
        """A reading from its `rows`, as read at `time` in container `node`.

        Raises:
            ValueError: there are none, or numbers that no GPU has.
        """
        return cls(tuple(GpuSample(*(time, *row, node)) for row in rows))


_CROSSING = tuple(each.name for each in fields(GpuSample) if each.name not in ("time", "node"))
"""Attributes of a sample that cross in `Reading.rows`, in the order GpuSample takes them."""


# -- one row -----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(?: ?(?:%|MiB|W|MHz|C))?")


def _number(text: str) -> float | None:
    """A number with or without its unit (headers and old drivers keep it even under `nounits`)."""
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
"""Query field -> attribute of a sample, and how its text is read. Other fields that are asked for are passed over."""

_HEADER_CELL = re.compile(r"([a-z][a-z0-9_.]*)(?: \[[^\]]*\])?")


def _header(cells: list[str]) -> tuple[str, ...]:
    """The fields a header line names; empty if the line is none."""
    found = [_HEADER_CELL.fullmatch(cell) for cell in cells]
    names = tuple(match[1] for match in found if match)
    return names if len(names) == len(cells) and any(name in _FIELDS for name in names) else ()


def _sample(cells: list[str], query: tuple[str, ...], time: float) -> GpuSample | None:
    """A row as a sample; None for what is no row: a warning, an error, a row cut short."""
    surplus = len(cells) - len(query)
    name = next((query.index(each) for each in ("name", "gpu_name") if each in query), None)
    if surplus > 0 and name is not None:  # commas in the name
        cells = [*cells[:name], ", ".join(cells[name : name + surplus + 1]), *cells[name + surplus + 1 :]]
    if len(cells) != len(query):
        return None
    values: dict[str, Any] = {}
    for field, cell in zip(query, cells, strict=True):
        if field in _FIELDS:
            attribute, read = _FIELDS[field]
            values[attribute] = read(cell)
    known = any(value is not None for value in values.values())
    return GpuSample(time=time, **values) if known else None


# -- a stream of rows --------------------------------------------------------------------------------------------------


class SampleReader:
    """Takes nvidia-smi's output in pieces cut anywhere and gives the readings that have become complete.

    A tick is complete with the row of the last known GPU; until that is known, when a GPU comes round again.

    Args:
        query: the fields asked for, in order; a header line in the text replaces them.
        gpus: how many GPUs there are, so that the first tick need not wait for the second; None: unknown.
    """

    def __init__(self, query: tuple[str, ...] = QUERY, gpus: int | None = None) -> None:
        self._query = query
        self._line = ""
        self._tick: list[GpuSample] = []
        self._places: dict[str, int] = {}
        self._last_place = gpus - 1 if gpus else None

    def feed(self, text: str, time: float = 0.0) -> list[Reading]:
        """Readings completed by this piece, whose rows count as read at `time`."""
        *lines, self._line = (self._line + text).split("\n")
        return [reading for line in lines for reading in self._row(line, time)]

    def finish(self, time: float = 0.0, *, killed: bool = False) -> list[Reading]:
        """What is left when nvidia-smi has ended: the line without an end, the tick without a successor.

        Args:
            time: when they count as read.
            killed: it did not end by itself, so a line without an end is half a row.
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
        """Put a row into its tick. nvidia-smi lists the GPUs in the same order each time."""
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
    """The samples in a whole output of nvidia-smi. Never raises: what is no row is passed over."""
    reader = SampleReader(query)
    return [sample for reading in (*reader.feed(text, time), *reader.finish(time)) for sample in reading.samples]
