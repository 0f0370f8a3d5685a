"""Prices of CPU, memory and Volumes, and the date of the estimates. `gpus` has the GPU prices.

Estimates, no bills: Modal bills CPU and memory by the higher of request and use, and prices change.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """A price.

    Attributes:
        usd: USD per unit.
        unit: the unit.
        date: day on which the price was checked, ISO 8601.
        source: source of the price.
    """

    usd: float
    unit: str
    date: str
    source: str = "modal.com/pricing"


CPU = Price(0.0000131, "physical core and second", "2026-10-07")
"""A physical core is two vCPUs."""

MEMORY = Price(0.00000222, "GiB and second", "2026-10-07")

VOLUME = Price(0.09, "GiB and month", "2026-09-01")

DEFAULT_CORES = 0.125
"""Default cores of a container, also Modal's minimum (docs, guide/resources)."""

DEFAULT_MEMORY_MIB = 128
"""Default memory of a container, MiB."""

BROAD_FACTOR, NARROW_FACTOR = 1.5, 1.75
"""What a pinned region multiplies the whole price by: a broad one such as `us`, and a narrow one such as `us-west`.

The table of REGION_SOURCE, as last seen on REGION_DATE. A note of 2026-10-07 says 1.15 for broad regions, and an older
copy of the guide has other figures: an estimate for a pinned region may be too high.
"""

REGION_SOURCE = "modal.com/docs/guide/region-selection"
REGION_DATE = "2026-09-01"

REGION_NOTE = (
    f"pinning a region costs more: {BROAD_FACTOR:g} times as much in a broad region such as us, "
    f"{NARROW_FACTOR:g} times in a narrow one such as us-west (seen {REGION_DATE})"
)

BROAD_REGIONS = ("us", "eu", "uk", "ap")
"""Regions that Modal's guide recommends before narrow ones such as `us-east`: more GPUs, shorter waits."""

PRICE_DATE = "2026-09-01"
"""Date shown with estimates: day on which the whole price table was checked (unchanged since 2026-07-18)."""


def region_factor(region: str | None) -> float:
    """Return what a region multiplies a price by; None: no region is pinned.

    The guide writes narrow regions with a hyphen (`us-west`), broad ones without (`us`).
    """
    if region is None:
        return 1.0
    return NARROW_FACTOR if "-" in region else BROAD_FACTOR
