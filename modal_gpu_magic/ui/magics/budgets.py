"""The budgets of `%config ModalGpu`, with what the ledger says of today."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.plan.machine.budget import allowance, budgets_of
from modal_gpu_magic.session.costs.ledger import Ledger
from modal_gpu_magic.session.costs.summary import Period, joined, spent
from modal_gpu_magic.session.run.bookkeeper import running_now
from modal_gpu_magic.ui.fronts.moments import zone_named
from modal_gpu_magic.ui.widgets.reader import READER
from modal_gpu_magic.wire.messages.events import Spending

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine.definition import Machine


def spending(
    cell: float | None, day: float | None, *, has_ledger: bool, machine: Machine, backend: str, timeout: float | None
) -> Spending | None:
    """Return what a cell may cost, as time; None: no budget is set.

    Args:
        cell: `budget_cell`, USD; None: not set.
        day: `budget_day`, USD; None: not set.
        has_ledger: whether the ledger is on.
        machine: the cell's machine.
        backend: `cloud` or `local`, whose costs are counted apart.
        timeout: the timeout that the header asks for, seconds; None: the default.

    Raises:
        MachineError: the cell may cost more than a budget allows, or the ledger, which knows the day's costs, is off.
    """
    if day is not None and not has_ledger:
        raise MachineError(
            "Set %config ModalGpu.ledger = True, or %config ModalGpu.budget_day = None: the ledger has the day's costs."
        )
    today = 0.0 if day is None else spent_today(backend)
    found = allowance(machine, budgets_of(cell, day, today), timeout)
    return None if found is None else Spending(found.seconds, found.words)


def spent_today(backend: str) -> float:
    """Return what one backend has cost since midnight, this kernel's running cells and idle containers included."""
    period = Period.of("today", time.time(), zone_named(READER.zone))
    return spent(joined(Ledger().read(period.start).records, running_now()), period, backend)
