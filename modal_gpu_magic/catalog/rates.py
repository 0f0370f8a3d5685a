"""The rates that all shown prices come from: the account's own where Modal gives them, else the dated price list.

This kernel has one set of rates at a time (`current`). A GPU that the account's rates do not name keeps its list price.
The keys of Modal's answer are the server's (`gpu_hour_cost_h100`, as published by users of `modal billing rates` in
2026-09; compute rates are per hour). A key that this file does not know changes nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.prices import CPU, MEMORY, PRICE_DATE

if TYPE_CHECKING:
    from collections.abc import Mapping

LIST: Final = "Modal's price list"
ACCOUNT: Final = "your account"


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one second, USD.

    Attributes:
        gpus: pairs of the catalog's name of a GPU and its price, where it differs from the list.
        cpu: a physical core.
        memory: a GiB of memory.
        date: day on which the prices were checked, ISO 8601.
        source: `LIST` or `ACCOUNT`.
    """

    gpus: tuple[tuple[str, float], ...] = ()
    cpu: float = CPU.usd
    memory: float = MEMORY.usd
    date: str = PRICE_DATE
    source: str = LIST

    def gpu(self, name: str) -> float | None:
        """Return the price of one GPU by the catalog's name, USD per second; None: the catalog has no such GPU."""
        known = GPUS.get(name)
        return None if known is None else dict(self.gpus).get(name, known.price_per_second)

    @property
    def words(self) -> str:
        """`prices of 2026-09-01`, `your account's rates of 2026-11-27`: what stands beside an estimate."""
        kind = "prices" if self.source == LIST else "your account's rates"
        return f"{kind} of {self.date}"


_KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "t4": ("T4",),
        "l4": ("L4",),
        "a10g": ("A10",),
        "a10": ("A10",),
        "l40s": ("L40S",),
        "a10040gb": ("A100-40GB", "A100"),
        "a10080gb": ("A100-80GB",),
        "rtx6000": ("RTX-PRO-6000",),
        "rtxpro6000": ("RTX-PRO-6000",),
        "h100": ("H100",),
        "h200": ("H200",),
        "b200": ("B200", "B200+"),
        "b300": ("B300",),
    }
)
"""The catalog's GPUs by the end of a key, without separators. Modal bills `A100` as 40 GB, and `B200+` as a B200."""
_GPU: Final = "gpu_hour_cost_"
_CPU, _MEMORY = "cpu_hour_cost", "mem_gib_hour_cost"


def from_account(answer: Mapping[str, object], date: str) -> Rates | None:
    """Return the rates of Modal's answer, USD per hour by key; None: the answer names no GPU that is known.

    Args:
        answer: the answer: numbers, or numbers as text.
        date: day of the answer, ISO 8601.
    """
    hourly = {key: price for key, value in answer.items() if (price := _number(value)) is not None}
    gpus = {
        name: price / 3600
        for key, price in hourly.items()
        if key.startswith(_GPU)
        for name in _KEYS.get(re.sub(r"[^a-z0-9]", "", key.removeprefix(_GPU).lower()), ())
    }
    if not gpus:
        return None
    return Rates(
        tuple(sorted(gpus.items())),
        hourly.get(_CPU, CPU.usd * 3600) / 3600,
        hourly.get(_MEMORY, MEMORY.usd * 3600) / 3600,
        date,
        ACCOUNT,
    )


def _number(value: object) -> float | None:
    """Return a price; None: the value is none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


_current = Rates()


def current() -> Rates:
    """Return the rates that prices come from now."""
    return _current


def adopt(rates: Rates) -> None:
    """Let all prices come from `rates` from now on."""
    global _current  # noqa: PLW0603 - the one place that all floors read
    _current = rates
