"""Times of day always with their zone: that of the reader if known, else this machine's."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from modal_gpu_magic.ui.fronts.moments import date_text, time_text, zone_named

AT = datetime(2026, 1, 1, 23, 30, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    "zone, text",
    [
        (timezone.utc, "2026-01-01 23:30 UTC"),
        (ZoneInfo("Europe/Berlin"), "2026-01-02 00:30 CET"),
        (ZoneInfo("America/New_York"), "2026-01-01 18:30 EST"),
        (ZoneInfo("Asia/Dubai"), "2026-01-02 03:30 UTC+4"),
        (ZoneInfo("Asia/Kolkata"), "2026-01-02 05:00 IST"),
        (ZoneInfo("America/Sao_Paulo"), "2026-01-01 20:30 UTC-3"),
        (ZoneInfo("Asia/Kathmandu"), "2026-01-02 05:15 UTC+5:45"),
        (timezone(timedelta(hours=1), "Mitteleuropäische Zeit"), "2026-01-02 00:30 UTC+1"),
    ],
)
def test_a_time_has_its_zone(zone: tzinfo, text: str) -> None:
    assert date_text(AT, zone) == text
    assert time_text(AT, zone) == text.partition(" ")[2]


def test_summer_time_is_that_of_the_moment() -> None:
    assert time_text(AT + 180 * 86400, ZoneInfo("Europe/Berlin")).endswith(" CEST")


def test_without_a_zone_it_is_this_machine_s() -> None:
    zone = datetime.fromtimestamp(AT).astimezone().tzinfo
    assert time_text(AT) == time_text(AT, zone)


@pytest.mark.parametrize("name", ["", "Nowhere/Else", "../../etc/passwd", "/etc/passwd", "\0", "x" * 300])
def test_an_unknown_zone_is_none(name: str) -> None:
    assert zone_named(name) is None


def test_a_zone_by_its_name() -> None:
    assert zone_named("Europe/Berlin") == ZoneInfo("Europe/Berlin")
