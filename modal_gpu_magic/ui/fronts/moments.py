"""Times of day and dates as text, with their time zone, since a saved notebook is read anywhere. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SHORT_NAME: Final = re.compile(r"[A-Z]{2,5}")


def time_text(at: float, zone: tzinfo | None = None) -> str:
    """`14:05 CET`. `zone` None: this machine's."""
    moment = datetime.fromtimestamp(at, zone).astimezone(zone)
    return f"{moment:%H:%M} {_zone_text(moment)}"


def date_text(at: float, zone: tzinfo | None = None) -> str:
    """`2026-01-31 14:05 CET`. `zone` None: this machine's."""
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d} {time_text(at, zone)}"


def zone_named(name: str) -> ZoneInfo | None:
    """Return the time zone of a name such as `Europe/Berlin`; None: this machine does not know the zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _zone_text(moment: datetime) -> str:
    """`CET`, `UTC+4`: the zone's short name, else its offset."""
    name = moment.tzname() or ""
    if _SHORT_NAME.fullmatch(name):
        return name
    minutes = round((moment.utcoffset() or timedelta()).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}"
