"""What CPU, memory and Volumes cost, and as of when our estimates are. GPU prices stand in their rows of `gpus`.

Estimates, never bills: Modal bills CPU and memory by the higher of request and use, and prices change.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """USD for one unit, the day it was last seen (ISO), and where."""

    usd: float
    unit: str
    date: str
    source: str = "modal.com/pricing"


CPU = Price(0.0000131, "physical core and second", "2026-10-07")
"""A physical core is two vCPUs."""

MEMORY = Price(0.00000222, "GiB and second", "2026-10-07")

VOLUME = Price(0.09, "GiB and month", "2026-09-01")

DEFAULT_CORES = 0.125
"""Cores of a container that asks for none: also the least Modal gives (docs, guide/resources)."""

DEFAULT_MEMORY_MIB = 128
"""MiB of a container that asks for none."""

REGION_NOTE = "pinning a region costs more, 1.15 to 1.75 times as much by what Modal has published"
"""No single figure: the region guide says 1.5 for a broad and 1.75 for a narrow one, a note of 2026-10-07 1.15."""

PRICE_DATE = "2026-09-01"
"""Shown beside an estimate: the day the whole price table was last seen (unchanged since 2026-07-18)."""
