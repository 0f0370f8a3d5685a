"""Parse the `[gpu-health]` lines with GPU faults that Modal writes into a container's log. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEALTH = re.compile(r"\[gpu-health\][ \t]*\[(CRITICAL|WARN)\w*\][ \t]*(GPU-[^\s:]+):?[ \t]*([^\r\n]*)")


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """A fault of a GPU that Modal wrote into the container's log.

    Attributes:
        critical: Modal will stop using this machine; False: a warning, on which the user must act.
        uuid: UUID of the GPU.
        message: Modal's message.
        xid: NVIDIA's error number; None: the message has none.
    """

    critical: bool
    uuid: str
    message: str
    xid: int | None = None


def health_events(text: str) -> tuple[HealthEvent, ...]:
    """Return the `[gpu-health] [CRITICAL|WARN] GPU-UUID: XID: ...` events of a log (modal-facts.md, section 7)."""
    events = []
    for level, uuid, message in _HEALTH.findall(text):
        xid = re.search(r"\bXID\b\W{0,3}([0-9]{1,5})", message, re.IGNORECASE)
        events.append(HealthEvent(level == "CRITICAL", uuid, message.strip(), int(xid[1]) if xid else None))
    return tuple(events)
