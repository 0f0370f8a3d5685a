"""Sums by day, notebook and GPU."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.session.costs.ledger import Record
from modal_gpu_magic.session.costs.summary import SPANS, Period, joined, spent, summarise

UTC = timezone.utc
NOON: Final = 1_795_780_800.0
"""2026-11-27 12:00 UTC."""
HOUR: Final = 3600.0
RUN: Final = Record(
    "1", "run", NOON - HOUR, NOON, NOON, "cloud", "default", "H100", "H100",
    notebook="train.ipynb", phases={"running": HOUR}, dollars=4.0, hourly=4.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "span, first, count",
    [("today", date(2026, 11, 27), 1), ("week", date(2026, 11, 21), 7), ("month", date(2026, 11, 1), 27)],
)
def test_periods_are_whole_days(span: str, first: date, count: int) -> None:
    period = Period.of(span, NOON, UTC)  # type: ignore[arg-type]
    assert (period.days[0], len(period.days), period.days[-1]) == (first, count, date(2026, 11, 27))


def test_days_are_the_reader_s() -> None:
    late = Period.of("today", NOON, ZoneInfo("Pacific/Auckland"))
    assert late.days == (date(2026, 11, 28),)
    summer = Period(days=(date(2026, 3, 29),), zone=ZoneInfo("Europe/Berlin"), now=NOON)
    start, end = summer.bounds(summer.days[0])
    assert end - start == 23 * HOUR


def test_local_money_is_never_in_a_sum_with_real_money() -> None:
    records = (RUN, replace(RUN, id="2", backend="local", dollars=100.0))
    period = Period.of("today", NOON, UTC)
    assert (spent(records, period, "cloud"), spent(records, period, "local")) == (4.0, 100.0)


def test_groups() -> None:
    idle = replace(RUN, id="2", kind="idle", dollars=0.5, phases={"idle": 450.0})
    other = replace(RUN, id="3", gpu="T4", notebook="", dollars=9.0)
    unknown = replace(RUN, id="4", dollars=None)
    found = summarise((RUN, idle, other, unknown), Period.of("week", NOON, UTC), "cloud")
    assert {name: (each.dollars, each.runs) for name, each in found.gpus.items()} == {"T4": (9.0, 1), "H100": (4.5, 2)}
    assert list(found.notebooks) == ["(no name)", "train.ipynb"]
    assert (found.total.dollars, found.total.runs, found.total.unknown) == (13.5, 3, 1)
    assert found.total.seconds == 3 * HOUR + 450
    assert [each.dollars for each in found.days.values()] == [0] * 6 + [13.5]


def test_a_run_over_midnight_belongs_to_both_days() -> None:
    midnight = NOON - 12 * HOUR
    record = replace(RUN, began=midnight - HOUR, ended=midnight + 3 * HOUR, until=midnight + 3 * HOUR)
    found = summarise((record,), Period.of("week", NOON, UTC), "cloud")
    assert [each.dollars for each in found.days.values()][-2:] == [1.0, 3.0]
    assert [each.runs for each in found.days.values()][-2:] == [1, 0]


def test_what_runs_now_replaces_what_was_written_of_it() -> None:
    written = (replace(RUN, dollars=1.0), replace(RUN, id="2"))
    assert joined(written, (RUN,)) == (RUN, replace(RUN, id="2"))


zones = st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Apia"), ZoneInfo("America/St_Johns")])


@given(
    st.lists(st.tuples(st.floats(0, 6.5 * 86_400), st.floats(0, 3 * HOUR), st.floats(0, 50)), max_size=6),
    zones,
    st.sampled_from(SPANS),
)
def test_groups_and_days_have_the_same_total(runs: list[tuple[float, float, float]], zone: tzinfo, span: str) -> None:
    records = [
        replace(
            RUN,
            id=str(number),
            began=NOON - before,
            ended=NOON - before + took,
            until=0.0,
            dollars=dollars,
            gpu=str(number % 2),
        )
        for number, (before, took, dollars) in enumerate(runs)
    ]
    found = summarise(records, Period.of(span, NOON + 4 * HOUR, zone), "cloud")  # type: ignore[arg-type]
    for group in (found.days, found.notebooks, found.gpus):
        assert sum(each.dollars for each in group.values()) == pytest.approx(found.total.dollars)
        assert sum(each.runs for each in group.values()) == found.total.runs
    everything = Period(tuple(date(2026, 11, 18) + timedelta(days=each) for each in range(14)), zone, NOON + 4 * HOUR)
    assert spent(records, everything, "cloud") == pytest.approx(sum(dollars for _, _, dollars in runs))
