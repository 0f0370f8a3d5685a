"""Durations as text. Pure."""

from __future__ import annotations

UNKNOWN = "–"
TENTHS_BELOW, SECONDS_BELOW = 10, 120
"""Seconds below which a duration shows tenths, and whole seconds; longer ones show `m:ss`."""


def clock(seconds: float) -> str:
    """`0:41`, `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def duration(seconds: float | None) -> str:
    """`12 ms`, `1.4 s`, `12 s`, `3:05`; `–` for None."""
    if seconds is None:
        return UNKNOWN
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < TENTHS_BELOW:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if round(seconds) < SECONDS_BELOW else clock(seconds)
