"""Budgets in dollars: how long a cell may run within them, and what would fit where it may not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.line.units import write_duration
from modal_gpu_magic.plan.machine.quote import dollars, quote, rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modal_gpu_magic.plan.machine.definition import Machine

LEAST_SECONDS: Final = 5.0
"""A budget that buys less time refuses the cell."""
ROUNDING: Final = 1e-3
"""Seconds by which floating point may miss a timeout that just fits."""
ALTERNATIVE_GB: Final = 24
"""Memory of the cheap GPU that a refusal names, GB; the cheapest of all, where the machine is no dearer than that."""
SETTING: Final = "%config ModalGpu."


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget.

    Attributes:
        name: its setting: `budget_cell` or `budget_day`.
        dollars: what it allows, USD.
        spent: what is spent of it, USD.
        has_idle_time: whether the idle time after the cell must fit in it, too.
    """

    name: str
    dollars: float
    spent: float = 0.0
    has_idle_time: bool = False

    @property
    def words(self) -> str:
        """`budget_cell of $5.00`, `budget_day of $20.00 ($3.10 spent before)`."""
        spent = f" ({dollars(self.spent)} spent before)" if self.spent else ""
        amount = dollars(self.dollars)
        return f"{self.name} of {f'${self.dollars:.2g}' if amount.startswith('<') else amount}{spent}"

    def seconds(self, hourly: float, idle_seconds: float) -> float:
        """Return how long a machine may run within the budget, seconds.

        Args:
            hourly: its price, USD per hour.
            idle_seconds: the idle time after the cell, seconds.
        """
        left = max(0.0, self.dollars - self.spent)
        if hourly <= 0:
            return float(FUNCTION_TIMEOUT)
        return max(0.0, left * 3600 / hourly - (idle_seconds if self.has_idle_time else 0.0))


@dataclass(frozen=True, slots=True)
class Allowance:
    """How long a cell may run within its tightest budget, and its words."""

    seconds: float
    words: str


def allowance(machine: Machine, budgets: Sequence[Budget], timeout: float | None) -> Allowance | None:
    """Return how long a cell may be billed; None: no budget is set.

    Args:
        machine: the machine. The dearest of its fallbacks counts, because Modal may give any.
        budgets: the budgets that are set.
        timeout: the timeout that the header asks for, seconds; None: the default, which a budget may shorten.

    Raises:
        MachineError: the cell may cost more than a budget allows, or its price is not known.
    """
    if not budgets:
        return None
    hourly = machine.per_hour
    if hourly is None:
        names = " and ".join(each.name for each in budgets)
        raise MachineError(
            f"Name a GPU with a known price, or set {SETTING}{budgets[0].name} = None: the price of {machine.title} "
            f"is not known, so {names} cannot be held."
        )
    tightest = min(budgets, key=lambda each: each.seconds(hourly, machine.scaledown))
    seconds = tightest.seconds(hourly, machine.scaledown)
    if seconds + ROUNDING < max(LEAST_SECONDS, timeout or 0.0):
        raise MachineError(_refusal(machine, hourly, tightest, timeout))
    return Allowance(seconds, tightest.words)


def _refusal(machine: Machine, hourly: float, budget: Budget, timeout: float | None) -> str:
    fits = " or ".join(f"{name} for {_rounded(seconds)}" for name, seconds in fitting(machine, budget))
    idle = machine.scaledown if budget.has_idle_time else 0.0
    asked = f"for {_rounded(timeout)} " if timeout else ""
    cost = hourly * ((timeout or LEAST_SECONDS) + idle) / 3600
    kept = f" with {_rounded(idle)} of idle time" if idle else ""
    what = f"{machine.title} at {rate(hourly)} {asked}may cost {dollars(cost)}{kept}"
    raised = f"raise it by {SETTING}{budget.name}"
    way_out = f"Fits: {fits} (--timeout); or {raised}." if fits else f"Nothing fits: {raised}."
    return f"Not run: {what}, over {budget.words}. {way_out}"


def fitting(machine: Machine, budget: Budget) -> Iterator[tuple[str, float]]:
    """Yield what a budget allows: the machine, if it may run at all, and a cheap GPU; each with its seconds."""
    hourly = machine.per_hour or 0.0
    own = budget.seconds(hourly, machine.scaledown)
    if own >= LEAST_SECONDS:
        yield machine.title, min(own, FUNCTION_TIMEOUT)
    prices = {name: quote(GpuSpec(name), region=machine.region).per_hour or 0.0 for name in GPUS}
    large = {name: price for name, price in prices.items() if GPUS[name].vram_gb >= ALTERNATIVE_GB}
    for group in (large, prices):
        cheapest = min(group, key=group.__getitem__)
        if group[cheapest] < hourly:
            seconds = budget.seconds(group[cheapest], machine.scaledown)
            if seconds >= LEAST_SECONDS:
                yield cheapest, min(seconds, FUNCTION_TIMEOUT)
                return


def budgets_of(cell: float | None, day: float | None, spent_today: float) -> tuple[Budget, ...]:
    """Return the budgets that are set. None: not set. `spent_today`: USD."""
    made = (
        Budget("budget_cell", cell) if cell is not None else None,
        Budget("budget_day", day, spent_today, has_idle_time=True) if day is not None else None,
    )
    return tuple(each for each in made if each is not None)


def _rounded(seconds: float) -> str:
    """`1h15m`, `45s`: a duration rounded down, to minutes from ten minutes on."""
    whole = int(seconds)
    return write_duration(whole - whole % 60 if whole >= 600 else whole)  # noqa: PLR2004 - ten minutes
