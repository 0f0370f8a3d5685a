"""What a budget allows, and what is said where it allows too little."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.budget import LEAST_SECONDS, Budget, allowance, budgets_of, fitting
from modal_gpu_magic.plan.machine.definition import Machine

H100, T4 = Machine.of("H100"), Machine.of("T4")


def test_without_a_budget_nothing_is_limited() -> None:
    assert budgets_of(None, None, 3.0) == ()
    assert allowance(Machine((GpuSpec("R100", known=False),)), (), 7200) is None


@pytest.mark.parametrize(
    "machine, cell, day, spent, timeout, seconds, words",
    [
        (H100, 3.9492, None, 0.0, None, 3600, "budget_cell of $3.95"),
        (H100, 3.9492, None, 0.0, 3600, 3600, "budget_cell of $3.95"),
        (Machine.of("H100", region="us"), 3.9492, None, 0.0, None, 2400, "budget_cell of $3.95"),
        (Machine.of("T4", "H100"), 3.9492, None, 0.0, None, 3600, "budget_cell of $3.95"),  # the dearest counts
        (Machine.of("H100:8", nodes=2), 3.9492, None, 0.0, None, 225, "budget_cell of $3.95"),
        (T4, 100.0, 0.5904, 0.2952, None, 1800 - 300, "budget_day of $0.59 ($0.30 spent before)"),
        (T4, 0.0984, 0.5904, 0.0, None, 600, "budget_cell of $0.10"),
        (Machine(), 0.01, None, 0.0, None, 5222, "budget_cell of $0.01"),
    ],
)
def test_the_tightest_budget_limits_a_cell(
    machine: Machine,
    cell: float | None,
    day: float | None,
    spent: float,
    timeout: float | None,
    seconds: float,
    words: str,
) -> None:
    found = allowance(machine, budgets_of(cell, day, spent), timeout)
    assert found is not None
    assert found.seconds == pytest.approx(seconds, abs=1)
    assert found.words == words


@pytest.mark.parametrize(
    "machine, cell, day, spent, timeout, text",
    [
        (
            H100, 8.0, None, 0.0, 4 * 3600,
            "Not run: H100 at $3.95/h for 4h may cost $15.80, over budget_cell of $8.00. "
            "Fits: H100 for 2h1m or L4 for 10h (--timeout); or raise it by %config ModalGpu.budget_cell.",
        ),
        (
            H100, None, 5.0, 4.99, None,
            "Not run: H100 at $3.95/h may cost $0.25 with 3m47s of idle time, over budget_day of $5.00 ($4.99 spent before). "
            "Nothing fits: raise it by %config ModalGpu.budget_day.",
        ),
        (
            H100, None, 5.0, 4.9, None,
            "Not run: H100 at $3.95/h may cost $0.25 with 3m47s of idle time, over budget_day of $5.00 ($4.90 spent before). "
            "Fits: L4 for 3m43s (--timeout); or raise it by %config ModalGpu.budget_day.",
        ),
        (T4, 0.0, None, 0.0, None, "Not run: T4 at $0.59/h may cost <$0.01, over budget_cell of $0.00. Nothing fits: raise it by %config ModalGpu.budget_cell."),
        (T4, 0.3, None, 0.0, 3600, "Not run: T4 at $0.59/h for 1h may cost $0.59, over budget_cell of $0.30. Fits: T4 for 30m (--timeout); or raise it by %config ModalGpu.budget_cell."),
    ],
)  # fmt: skip
def test_a_refusal_says_what_would_fit(
    machine: Machine, cell: float | None, day: float | None, spent: float, timeout: float | None, text: str
) -> None:
    with pytest.raises(MachineError, match=f"^{re.escape(text)}$"):
        allowance(machine, budgets_of(cell, day, spent), timeout)


def test_an_unknown_price_is_refused() -> None:
    machine = Machine((GpuSpec("R100", known=False),))
    with pytest.raises(MachineError, match="the price of R100 is not known, so budget_cell cannot be held"):
        allowance(machine, budgets_of(5.0, None, 0.0), None)


@given(
    st.sampled_from([name for name, gpu in GPUS.items() if gpu.pinned]),
    st.integers(1, 4),
    st.sampled_from((None, "us", "us-west")),
    st.none() | st.floats(0, 100),
    st.none() | st.floats(0, 100),
    st.floats(0, 100),
    st.none() | st.integers(1, 86_400),
)
def test_no_cell_may_cost_more_than_its_budgets(
    name: str, count: int, region: str | None, cell: float | None, day: float | None, spent: float, timeout: int | None
) -> None:
    assume(cell is not None or day is not None)
    machine, budgets = Machine.of(f"{name}:{count}", region=region), budgets_of(cell, day, spent)
    hourly = machine.per_hour or 0.0
    over = [
        each for each in budgets if each.seconds(hourly, machine.scaledown) + 1e-3 < max(LEAST_SECONDS, timeout or 0)
    ]
    if over:
        with pytest.raises(MachineError, match=f"({'|'.join(re.escape(each.words) for each in over)})"):
            allowance(machine, budgets, timeout)
        return
    found = allowance(machine, budgets, timeout)
    assert found is not None
    assert cell is None or found.seconds * hourly / 3600 <= cell + 1e-6
    assert day is None or spent + (found.seconds + machine.scaledown) * hourly / 3600 <= day + 1e-6
    assert timeout is None or found.seconds >= timeout - 0.01


@given(st.floats(0, 50), st.floats(0, 50), st.booleans())
def test_what_is_said_to_fit_does(dollars: float, spent: float, has_idle_time: bool) -> None:
    budget = Budget("budget_day", dollars, spent, has_idle_time=has_idle_time)
    for name, seconds in fitting(H100, budget):
        machine = Machine.of(name, keep_warm=H100.scaledown)
        found = allowance(machine, (budget,), int(seconds))
        assert found is not None
