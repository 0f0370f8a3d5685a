"""Faults of a GPU that Modal writes into a container's log: `[gpu-health]` lines as values. Text in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEALTH = re.compile(r"\[gpu-health\][ \t]*\[(CRITICAL|WARN)\w*\][ \t]*(GPU-[^\s:]+):?[ \t]*([^\r\n]*)")


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """A fault of a GPU that Modal wrote into the container's log.

    Attributes:
        critical: Modal takes the machine out of service; else a warning, for the user to act on.
        uuid: the GPU. message: what Modal says of it.
        xid: NVIDIA's number of the error, if it is named.
    """

    critical: bool
    uuid: str
    message: str
    xid: int | None = None


def health_events(text: str) -> tuple[HealthEvent, ...]:
    """The `[gpu-health] [CRITICAL|WARN] GPU-UUID: XID: ...` lines of a log (reference/modal-facts.md, section 7)."""
    events = []
    for level, uuid, message in _HEALTH.findall(text):
        xid = re.search(r"\bXID\b\W{0,3}([0-9]{1,5})", message, re.IGNORECASE)
        events.append(HealthEvent(level == "CRITICAL", uuid, message.strip(), int(xid[1]) if xid else None))
    return tuple(events)
