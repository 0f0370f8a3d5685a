"""Schedules of functions. The local backend records them and starts nothing by the clock. Pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from modal_gpu_magic.control_plane.fields import number, shown
from modal_gpu_magic.control_plane.refusals import Invalid

if TYPE_CHECKING:
    from modal_proto import api_pb2

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PERIODS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")
MOST = 1e6
"""Largest number of a period's unit."""


class _Field(NamedTuple):
    """One field of a cron line: its name, its range, and words for its numbers from the lowest on."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)

_ITEM = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")
"""`*`, `3`, `mon-fri`, each with a step such as `/2`."""


def check_schedule(schedule: api_pb2.Schedule) -> None:
    """Raise Invalid for a schedule that Modal would refuse."""
    if schedule.HasField("cron"):
        _check_cron(schedule.cron.cron_string)
        _check_timezone(schedule.cron.timezone)
    if schedule.HasField("period"):
        units = [number(getattr(schedule.period, name), 0, MOST, f"A period's {name}") for name in _PERIODS]
        if not any(units):
            raise Invalid("A schedule's period must be positive: write modal.Period(hours=1).")


def _check_cron(line: str) -> None:
    texts = line.split()
    if len(texts) != len(_FIELDS):
        raise Invalid(f"The cron line {shown(line)} has {len(texts)} fields instead of {len(_FIELDS)}.")
    for field, text in zip(_FIELDS, texts, strict=True):
        if not all(_is_item(field, item) for item in text.split(",")):
            raise Invalid(f"The cron line {shown(line)} has {shown(text)} as its {field.name}.")


def _is_item(field: _Field, item: str) -> bool:
    found = _ITEM.fullmatch(item)
    if found is None:
        return False
    first, last, step = found.groups()
    ends = [_value(field, text) for text in (first, last) if text is not None]
    in_range = all(field.low <= end <= field.high for end in ends) and ends == sorted(ends)
    return in_range and (step is None or 0 < int(step[:4]) <= field.high)


def _value(field: _Field, text: str) -> int:
    """Return the number of a field's text; one below the field's range for another text."""
    if text.lower() in field.words:
        return field.low + field.words.index(text.lower())
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len("59") else field.low - 1


def _check_timezone(name: str) -> None:
    if name in ("", "UTC"):
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"{shown(name)} is not a time zone: write one like 'Europe/Berlin'.") from None
