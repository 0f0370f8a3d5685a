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

REGION_FACTORS = (1.15, 1.75)
"""Least and most that a pinned region multiplies a price by.

The region guide says 1.5 for a broad region and 1.75 for a narrow one; a note of 2026-10-07 says 1.15.
"""

REGION_SOURCE = "modal.com/docs/guide/region-selection"

REGION_NOTE = (
    f"pinning a region costs more, {REGION_FACTORS[0]} to {REGION_FACTORS[1]} times as much by what Modal has published"
)

BROAD_REGIONS = ("us", "eu", "uk", "ap")
"""Regions that Modal's guide recommends before narrow ones such as `us-east`: more GPUs, shorter waits."""

PRICE_DATE = "2026-09-01"
"""Date shown with estimates: day on which the whole price table was checked (unchanged since 2026-07-18)."""
