"""What things cost: seconds, hours, idle time, and how it is written."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.quote import (
    Quote,
    billed_as,
    dearer_fallbacks,
    default_keep_warm,
    dollars,
    hourly,
    quote,
    rate,
)

UNKNOWN = GpuSpec("R100", known=False)


def specs(text: str) -> tuple[GpuSpec, ...]:
    return tuple(GpuSpec.parse(word, allow_unknown=True) for word in text.split())


def test_a_container_costs_its_gpus() -> None:
    price = quote(GpuSpec("H100", 2))
    assert price.per_second == pytest.approx(2 * 0.001097)
    assert price.per_hour == pytest.approx(7.8984)
    assert price.date == "2026-09-01"
    assert str(price) == "H100:2 $7.90/h"
    assert str(quote(GpuSpec("H100", 8))) == "H100:8 $31.59/h", "as the picker shows it: eight times the list's price"


def test_cpu_and_memory_asked_for() -> None:
    rest = 4 * 0.0000131 + 16 * 0.00000222
    assert quote(None, cpu=4, memory_mib=16384).per_second == pytest.approx(rest)
    assert quote(GpuSpec("T4"), cpu=4, memory_mib=16384).per_second == pytest.approx(0.000164 + rest)
    assert str(quote(None)) == "CPU $0.01/h"


@pytest.mark.parametrize(
    "region, factor", [(None, 1.0), ("us", 1.5), ("eu", 1.5), ("us-west", 1.75), ("eu-west", 1.75)]
)
@pytest.mark.parametrize("how", [{}, {"cpu": 4.0}, {"memory_mib": 2048}])
def test_a_region_multiplies_the_whole_price(region: str | None, factor: float, how: dict[str, Any]) -> None:
    anywhere = quote(GpuSpec("T4"), **how).per_second or 0
    assert quote(GpuSpec("T4"), region=region, **how).per_second == pytest.approx(anywhere * factor)
    assert hourly([GpuSpec("T4")], region=region, **how) == pytest.approx(anywhere * factor * 3600)


def test_running_and_idling_cost_the_same_a_second() -> None:
    assert Quote(GpuSpec("T4"), 0.0002).cost(300) == pytest.approx(0.06)


def test_an_unknown_price_stays_unknown() -> None:
    price = quote(UNKNOWN)
    assert (price.per_second, price.per_hour, price.cost(60), str(price)) == (None, None, None, "R100 –")


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("", 300),
        ("T4", 300),
        ("L40S", 300),
        ("A100-80GB", 300),
        ("H100", 227),  # $0.25 at $0.001097 a second
        ("H200", 198),
        ("H100:2", 113),
        ("H100:8", 60),
        ("T4 H100:2", 113),  # the fallback may be the one that idles
        ("R100", 60),
        ("T4 R100", 60),
    ],
)
def test_how_long_a_container_is_kept_by_default(text: str, seconds: int) -> None:
    assert default_keep_warm(specs(text)) == seconds


@pytest.mark.parametrize(
    "text, dollars_an_hour", [("", 0.0069), ("T4", 0.5904), ("T4 H100 L4", 3.9492), ("T4 R100", None)]
)
def test_an_hour_of_the_dearest(text: str, dollars_an_hour: float | None) -> None:
    assert hourly(specs(text)) == (None if dollars_an_hour is None else pytest.approx(dollars_an_hour, abs=1e-4))


@pytest.mark.parametrize(
    "text, dearer",
    [
        ("", ""),
        ("H100", ""),
        ("H100 A100-80GB", ""),
        ("A100-80GB H100 A100-40GB A100-40GB:2", "H100 A100-40GB:2"),
        ("A100 A100-40GB", ""),
        ("R100 H100", ""),
        ("T4 R100", ""),
    ],
)
def test_fallbacks_that_cost_more_than_the_first(text: str, dearer: str) -> None:
    assert dearer_fallbacks(specs(text)) == specs(dearer)


@pytest.mark.parametrize(
    "asked, smi_name, memory_mib, count, billed",
    [
        ("H100", "NVIDIA H100 80GB HBM3", 81559, 1, "H100"),
        ("H100", "NVIDIA H200", 143771, 1, "H100"),  # the free upgrade
        ("H100!", "NVIDIA H200", 143771, 1, None),
        ("H100 H200", "NVIDIA H200", 143771, 1, "H200"),  # the dearer reading, if in doubt
        ("A100", "NVIDIA A100-SXM4-80GB", 81920, 1, "A100"),
        ("A100-40GB A100-80GB:2", "NVIDIA A100-SXM4-80GB", 81920, 2, "A100-80GB:2"),
        ("B200+", "NVIDIA B300 SXM6 AC", 275040, 1, "B200+"),
        ("A10G", "NVIDIA A10G", 23028, 1, "A10"),
        ("H100:2", "NVIDIA H100 80GB HBM3", 81559, 1, None),
        ("T4", "NVIDIA L4", 23034, 1, None),
        ("T4", "NVIDIA GeForce RTX 4090", 24564, 1, None),
    ],
)
def test_what_the_gpus_that_came_are_billed_as(
    asked: str, smi_name: str, memory_mib: int, count: int, billed: str | None
) -> None:
    spec = billed_as(specs(asked), smi_name, memory_mib, count)
    assert (spec and str(spec)) == billed


@pytest.mark.parametrize(
    "amount, text",
    [
        (None, "–"),
        (0.0, "$0.00"),
        (0.001, "<$0.01"),
        (0.005, "$0.01"),
        (0.04, "$0.04"),
        (3.9492, "$3.95"),
        (99.99, "$99.99"),
        (99.996, "$100"),
        (126.4, "$126"),
        (1234.5, "$1,234"),
    ],
)
def test_dollars(amount: float | None, text: str) -> None:
    assert dollars(amount) == text


@pytest.mark.parametrize(
    "amount, dearest, text",
    [
        (None, None, "–"),
        (None, 3.9492, "–"),
        (3.9492, None, "$3.95/h"),
        (126.37, 126.37, "$126/h"),
        (3.9492, 0.8, "$3.95/h"),
        (0.8, 3.9492, "$0.80/h, up to $3.95/h"),
        (126.1, 126.2, "$126/h"),
    ],
)
def test_a_rate(amount: float | None, dearest: float | None, text: str) -> None:
    assert rate(amount, dearest) == text
