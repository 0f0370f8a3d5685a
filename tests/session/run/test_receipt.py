"""What a run cost, and what the idle time behind it may: arithmetic, and nothing where a figure is not known."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.session.run.receipt import Receipt


def receipt(**facts: Any) -> Receipt:
    return Receipt("done", "H100", "cloud", simulated=False, **facts)


@pytest.mark.parametrize(
    "facts, cost",
    [
        (dict(hourly=3.6, ran=10.0), 0.01),
        (dict(hourly=3.6, ran=10.0, started=20.0), 0.03),
        (dict(hourly=3.6, ran=10.0, waited=500.0), 0.01),
        (dict(hourly=3.6, ran=0.0), 0.0),
        (dict(hourly=None, ran=10.0), None),
        (dict(hourly=3.6, ran=None, started=20.0), None),
    ],
)
def test_cost_of_start_up_and_run(facts: dict[str, Any], cost: float | None) -> None:
    assert receipt(**facts).cost == (None if cost is None else pytest.approx(cost))


@pytest.mark.parametrize("hourly, seconds, cost", [(3.6, 300, 0.3), (3.6, 0, 0.0), (None, 300, None)])
def test_cost_of_the_idle_time(hourly: float | None, seconds: int, cost: float | None) -> None:
    found = receipt(hourly=hourly, idle_seconds=seconds).idle_cost
    assert found == (None if cost is None else pytest.approx(cost))
