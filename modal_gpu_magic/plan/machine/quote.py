"""What a request costs: a second, an hour, a run, the idle time behind it. Estimates, with their date.

Prices are the catalog's. None is "unknown", shown as `–`: never 0, and never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.gpus import recognise
from modal_gpu_magic.catalog.prices import (
    CPU,
    DEFAULT_CORES,
    DEFAULT_MEMORY_MIB,
    MEMORY,
    PRICE_DATE,
    REGION_NOTE,
)
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.line.units import write_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE_BUDGET = 0.25
"""USD that the idle time behind a cell may cost where nobody says how long to keep a container (DESIGN decision 6)."""

KEEP_WARM = (60, 300)
"""Seconds: the least and the most of such an idle time."""

UNKNOWN = "–"
"""Shown where a price is not known."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of one container.

    Attributes:
        spec: its GPUs; None: a container without.
        per_second: USD for GPUs, CPU and memory asked for; None: unknown.
        date: the day the prices were last seen, ISO.
        note: why the bill will be higher than this; empty where it should agree.
    """

    spec: GpuSpec | None
    per_second: float | None
    date: str = PRICE_DATE
    note: str = ""

    @property
    def per_hour(self) -> float | None:
        """USD."""
        return self.cost(3600)

    def cost(self, seconds: float) -> float | None:
        """USD for so many seconds of the container, whether it runs or idles: Modal bills both alike."""
        return None if self.per_second is None else self.per_second * seconds

    def __str__(self) -> str:
        """`H100:2 $7.90/h`."""
        return f"{self.spec or 'CPU'} {rate(self.per_hour)}"


def quote(
    spec: GpuSpec | None, *, cpu: float | None = None, memory_mib: int | None = None, region: str | None = None
) -> Quote:
    """The price of one container.

    Args:
        spec: its GPUs, if any.
        cpu: physical cores asked for; None: Modal's default. It bills the higher of request and use.
        memory_mib: MiB asked for; None: Modal's default.
        region: a pinned region; what that costs is not published as one figure, so it is only noted.
    """
    gpus = spec.price_per_second if spec else 0.0
    rest = CPU.usd * (DEFAULT_CORES if cpu is None else cpu)
    rest += MEMORY.usd * (DEFAULT_MEMORY_MIB if memory_mib is None else memory_mib) / 1024
    return Quote(spec, None if gpus is None else gpus + rest, note=REGION_NOTE if region else "")


def idle_words(price: Quote, seconds: int) -> str:
    """What it costs to keep a container that has nothing to do: `idle 5m more each time, up to $0.16`."""
    return f"idle for {write_duration(seconds)} after the last call, up to {dollars(price.cost(seconds))} each time"


def hourly(specs: Sequence[GpuSpec]) -> float | None:
    """USD an hour of a container for these specs: of the dearest, since any may be given; None if any is unknown.

    Without specs, of a container without GPUs.
    """
    prices = [quote(spec).per_hour for spec in specs or (None,)]
    known = [price for price in prices if price is not None]
    return max(known) if len(known) == len(prices) else None


def default_keep_warm(specs: Sequence[GpuSpec], nodes: int = 1) -> int:
    """Seconds to keep an idle container of these specs: 5 min, or what $0.25 buys if less, but at least 60 s.

    The dearest of the fallbacks decides, since any may be given; an unknown price counts as the dearest.
    """
    least, most = KEEP_WARM
    price = hourly(specs)
    bought = 0.0 if price is None else IDLE_BUDGET / (price * nodes) * 3600
    return int(min(max(bought, least), most))


def dearer_fallbacks(specs: Sequence[GpuSpec]) -> tuple[GpuSpec, ...]:
    """The fallbacks that are known to cost more than the first choice."""
    first = specs[0].price_per_second if specs else None
    if first is None:
        return ()
    return tuple(spec for spec in specs[1:] if spec.price_per_second is not None and spec.price_per_second > first)


def billed_as(specs: Sequence[GpuSpec], smi_name: str, memory_mib: int | None, count: int) -> GpuSpec | None:
    """The spec, of those asked for, that the GPUs which arrived were given for, and are billed as; None: none of them.

    An H200 that came for `H100` is billed as an H100. One that came for `H100 H200` may have come for either; that of
    its own name is taken, so that the estimate is not too low.

    Args:
        specs: what was asked for, in order.
        smi_name: the GPU's name as nvidia-smi prints it.
        memory_mib: its memory, MiB; None: not known.
        count: how many arrived.
    """
    gpu = recognise(smi_name, memory_mib)
    fits = [spec for spec in specs if gpu and spec.count == count and gpu.name in spec.gives]
    pinned = [spec for spec in fits if gpu and spec.name == gpu.name]
    return next(iter((*pinned, *fits)), None)


def dollars(amount: float | None) -> str:
    """`$0.04`, `$126`, `<$0.01`, `–`."""
    if amount is None:
        return UNKNOWN
    if 0 < amount < 0.005:  # noqa: PLR2004 - would round to nothing
        return "<$0.01"
    return f"${amount:,.2f}" if amount < 99.995 else f"${amount:,.0f}"  # noqa: PLR2004 - three digits, then no cents


def rate(amount: float | None) -> str:
    """USD an hour as `$3.95/h`, or `–`."""
    return UNKNOWN if amount is None else f"{dollars(amount)}/h"
