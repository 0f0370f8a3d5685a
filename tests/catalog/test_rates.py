"""The rates behind all shown prices: the account's own where known, else the dated list."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.prices import CPU, MEMORY, PRICE_DATE, region_factor
from modal_gpu_magic.catalog.rates import Rates, adopt, from_account
from modal_gpu_magic.line.help import help_text
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.plan.machine.recommend import recommend
from modal_gpu_magic.ui.magics.catalog import gpu_table
from modal_gpu_magic.ui.widgets import offers
from modal_gpu_magic.ui.widgets.picker import prices_text

ANSWER = {
    "gpu_hour_cost_t4": ".59",
    "gpu_hour_cost_a10g": "1.10",
    "gpu_hour_cost_a100_40gb": "2.00",
    "gpu_hour_cost_h100": Decimal("3.00"),
    "gpu_hour_cost_rtx6000": 3.03,
    "gpu_hour_cost_b200": "6",
    "cpu_hour_cost": "0.05",
    "mem_gib_hour_cost": "0.01",
    "gpu_hour_cost_x1": "9",
    "storage": "0.09",
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    adopt(Rates())


def test_the_list_is_the_catalog() -> None:
    assert {name: rates.current().gpu(name) for name in GPUS} == {
        name: gpu.price_per_second for name, gpu in GPUS.items()
    }
    assert (Rates().cpu, Rates().memory, Rates().words) == (CPU.usd, MEMORY.usd, f"prices of {PRICE_DATE}")
    assert Rates().gpu("R100") is None


@pytest.mark.parametrize(
    "name, hourly",
    [
        ("T4", 0.59),
        ("A10", 1.1),
        ("A100", 2.0),
        ("A100-40GB", 2.0),
        ("H100", 3.0),
        ("RTX-PRO-6000", 3.03),
        ("B200+", 6.0),
    ],
)
def test_the_account_s_rates_are_per_hour(name: str, hourly: float) -> None:
    found = from_account(ANSWER, "2026-11-27")
    assert found is not None
    assert found.gpu(name) == pytest.approx(hourly / 3600)
    assert found.gpu("L40S") == GPUS["L40S"].price_per_second  # not named: the list's
    assert found.cpu == pytest.approx(0.05 / 3600)
    assert found.memory == pytest.approx(0.01 / 3600)
    assert found.words == "your account's rates of 2026-11-27"


@pytest.mark.parametrize(
    "answer", [{}, {"cpu_hour_cost": "1"}, {"gpu_hour_cost_h100": "free"}, {"gpu_hour_cost_h100": -1}]
)
def test_an_answer_without_a_price_of_a_gpu_is_none(answer: dict[str, object]) -> None:
    assert from_account(answer, "2026-11-27") is None


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=10) | st.floats() | st.none(), max_size=5))
def test_any_answer_is_read(answer: dict[str, object]) -> None:
    from_account({f"gpu_hour_cost_{key}": value for key, value in answer.items()} | answer, "2026-11-27")


def test_they_reach_every_price() -> None:
    before = offers.offers_json()
    found = from_account(ANSWER, "2026-11-27")
    assert found is not None
    adopt(found)
    assert Machine.of("H100:2").price_text == "$6.00/h"
    assert Machine.of("H100", region="us").price_text == "$4.50/h"
    assert GpuSpec("H100", 8).price_per_hour == pytest.approx(24)
    assert "80 GB, $3.00/h" in help_text()
    assert "3.00  2026-11-27" in gpu_table().text()
    assert recommend("13B", "lora").table.foot[-1] == "Your account's rates of 2026-11-27."
    assert offers.offers_json() != before
    assert prices_text() == "Your account's rates of 2026-11-27"


@pytest.mark.parametrize(
    "region, factor", [(None, 1.0), ("us", 1.5), ("uk", 1.5), ("us-west", 1.75), ("ap-northeast", 1.75)]
)
def test_what_a_region_costs(region: str | None, factor: float) -> None:
    assert region_factor(region) == factor
