"""Estimated cost of a request per second, hour, run and idle time, with the date of the prices.

A machine's price is that of its GPUs, as Modal lists it, plus that of the CPU and memory that the header asks for. What
Modal gives every container (an eighth of a core and 128 MiB, 0.7 cents an hour) counts where no GPU is asked for only.
Prices are those of `catalog.rates`; a pinned region multiplies all of them. None means unknown, shown as `–`; an
unknown price is never 0 and never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import recognise
from modal_gpu_magic.catalog.prices import DEFAULT_CORES, DEFAULT_MEMORY_MIB, region_factor
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.line.units import write_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE_BUDGET = 0.25
"""USD that the idle time after a cell may cost without an explicit keep-warm time (DESIGN decision 6)."""

KEEP_WARM = (60, 300)
"""Smallest and largest default of the idle time, seconds."""

UNKNOWN = "–"
"""Text for an unknown price."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of one container.

    Attributes:
        spec: GPUs of the container; None: no GPUs.
        per_second: USD per second for the requested GPUs, CPU and memory; None: unknown.
        date: day on which the prices were checked, ISO 8601.
    """

    spec: GpuSpec | None
    per_second: float | None
    date: str = ""

    @property
    def per_hour(self) -> float | None:
        """USD per hour; None: unknown."""
        return self.cost(3600)

    def cost(self, seconds: float) -> float | None:
        """Return USD for a time in seconds; Modal bills running and idle containers equally."""
        return None if self.per_second is None else self.per_second * seconds

    def __str__(self) -> str:
        """`H100:2 $7.90/h`."""
        return f"{self.spec or 'CPU'} {rate(self.per_hour)}"


def quote(
    spec: GpuSpec | None, *, cpu: float | None = None, memory_mib: int | None = None, region: str | None = None
) -> Quote:
    """Return the price of one container.

    Args:
        spec: GPUs of the container; None: no GPUs.
        cpu: requested physical cores; None: none. Modal bills the higher of request and use.
        memory_mib: requested memory, MiB; None: none.
        region: a pinned region, which multiplies the price; None: any.
    """
    prices = rates.current()
    gpus = spec.price_per_second if spec else 0.0
    least_cores, least_mib = (0.0, 0) if spec else (DEFAULT_CORES, DEFAULT_MEMORY_MIB)
    rest = prices.cpu * (least_cores if cpu is None else cpu)
    rest += prices.memory * (least_mib if memory_mib is None else memory_mib) / 1024
    return Quote(spec, None if gpus is None else (gpus + rest) * region_factor(region), prices.date)


def idle_words(dearest: float | None, seconds: int) -> str:
    """Return the cost of idle time as a phrase: `idle for 5m after the last call, up to $0.16 each time`.

    Args:
        dearest: USD per hour of the machine with its dearest fallback; None: unknown.
        seconds: the idle time.
    """
    most = None if dearest is None else dearest * seconds / 3600
    return f"idle for {write_duration(seconds)} after the last call, up to {dollars(most)} each time"


def worst_case(dearest: float | None, timeout: float, idle: int) -> float | None:
    """Return USD that a cell costs at most if nobody comes back; None: unknown.

    Args:
        dearest: USD per hour of the machine with its dearest fallback; None: unknown.
        timeout: the cell's timeout, seconds.
        idle: how long the idle container stays, seconds.
    """
    return None if dearest is None else dearest * (timeout + idle) / 3600


def worst_words(dearest: float | None, timeout: float, idle: int, *, is_free: bool = False) -> str:
    """Return what a detached cell costs at most: `at most $4.28 if nobody comes back (cell 1h, then idle 5m)`.

    `is_free`: the cell runs on the local backend, so it would cost that `on Modal`.
    """
    spans = f"cell {write_duration(int(timeout))}, then idle {write_duration(idle)}"
    where = " on Modal" if is_free else ""
    return f"at most {dollars(worst_case(dearest, timeout, idle))}{where} if nobody comes back ({spans})"


def hourly(
    specs: Sequence[GpuSpec], *, cpu: float | None = None, memory_mib: int | None = None, region: str | None = None
) -> float | None:
    """Return USD per hour for the most expensive of the specs, because Modal may choose any; None: a price is unknown.

    Without specs: the price of a container without GPUs. `cpu`, `memory_mib` and `region` are those of `quote`.
    """
    prices = [quote(spec, cpu=cpu, memory_mib=memory_mib, region=region).per_hour for spec in specs or (None,)]
    known = [price for price in prices if price is not None]
    return max(known) if len(known) == len(prices) else None


def default_keep_warm(specs: Sequence[GpuSpec], nodes: int = 1, region: str | None = None) -> int:
    """Return the seconds to keep an idle container: 300 s, or the time that costs $0.25 if shorter, at least 60 s.

    The most expensive fallback decides, because Modal may choose any; with an unknown price: 60 s.
    """
    least, most = KEEP_WARM
    price = hourly(specs, region=region)
    bought = 0.0 if price is None else IDLE_BUDGET / (price * nodes) * 3600
    return int(min(max(bought, least), most))


def dearer_fallbacks(specs: Sequence[GpuSpec]) -> tuple[GpuSpec, ...]:
    """Return the fallbacks with a known price above that of the first choice."""
    first = specs[0].price_per_second if specs else None
    if first is None:
        return ()
    return tuple(spec for spec in specs[1:] if spec.price_per_second is not None and spec.price_per_second > first)


def billed_as(specs: Sequence[GpuSpec], smi_name: str, memory_mib: int | None, count: int) -> GpuSpec | None:
    """Return the requested spec that the container's GPUs are billed as; None: no spec matches.

    An H200 for the request `H100` is billed as an H100. For the request `H100 H200` the spec of the GPU's own name is
    returned, so that the estimate is not too low.

    Args:
        specs: the requested specs, in order.
        smi_name: name of the GPU as nvidia-smi prints it.
        memory_mib: memory of the GPU, MiB; None: unknown.
        count: number of GPUs.
    """
    gpu = recognise(smi_name, memory_mib)
    fits = [spec for spec in specs if gpu and spec.count == count and gpu.name in spec.gives]
    pinned = [spec for spec in fits if gpu and spec.name == gpu.name]
    return next(iter((*pinned, *fits)), None)


def dollars(amount: float | None) -> str:
    """Format an amount of USD: `$0.04`, `$126`, `<$0.01`, `–`."""
    if amount is None:
        return UNKNOWN
    if 0 < amount < 0.005:  # noqa: PLR2004 - would round to nothing
        return "<$0.01"
    return f"${amount:,.2f}" if amount < 99.995 else f"${amount:,.0f}"  # noqa: PLR2004 - three digits, then no cents


def about(amount: float | None) -> str:
    """Format an estimate: `≈ $0.04`, `<$0.01`, `–`."""
    text = dollars(amount)
    return f"≈ {text}" if text.startswith("$") else text


def rate(amount: float | None, dearest: float | None = None) -> str:
    """Format USD per hour: `$3.95/h`, or `–`; with a dearer fallback: `$1.10/h, up to $3.95/h`."""
    if amount is None:
        return UNKNOWN
    first, last = f"{dollars(amount)}/h", f"{dollars(dearest)}/h"
    return first if dearest is None or dearest <= amount or first == last else f"{first}, up to {last}"
