"""The time zone of the page that the notebook is read in, as a widget without a view hears it."""

from __future__ import annotations

import pytest

from modal_gpu_magic.ui.fronts.moments import time_text, zone_named
from modal_gpu_magic.ui.widgets.reader import Reader
from modal_gpu_magic.ui.widgets.time_zone import TimeZone


def test_watchers_hear_of_a_change_until_they_leave() -> None:
    reader, heard = Reader(), list[str]()
    leave = reader.watch(lambda: heard.append(reader.zone))
    for zone in ("Europe/Berlin", "Europe/Berlin", "Asia/Tokyo"):
        reader.is_in(zone)
    leave()
    leave()
    reader.is_in("UTC")
    assert heard == ["Europe/Berlin", "Asia/Tokyo"]


@pytest.mark.parametrize(
    "message, zone",
    [
        ({"type": "zone", "zone": "Asia/Tokyo"}, "Asia/Tokyo"),
        ({"type": "zone", "zone": None}, ""),
        ({"type": "zone"}, ""),
        ({"type": "zone", "zone": ["<script>"]}, "['<script>']"),
        ({"type": "other", "zone": "Asia/Tokyo"}, None),
        ({}, None),
    ],
)
def test_what_a_page_says(message: dict[str, object], zone: str | None) -> None:
    heard: list[str] = []
    widget = TimeZone(heard.append)
    widget._handle_custom_msg(message, [])
    assert heard == ([] if zone is None else [zone])
    if zone != "Asia/Tokyo":
        assert zone_named(zone or "") is None
        assert time_text(0.0, zone_named(zone or "")) == time_text(0.0)
    widget.close()
