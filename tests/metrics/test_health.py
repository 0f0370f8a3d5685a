"""`[gpu-health]` lines of a container's log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.metrics.health import HealthEvent, health_events


@pytest.mark.parametrize(
    "text, events",
    [
        ("all is well", []),
        ("[gpu-health] [WARN] GPU-a1: XID: 13, pid=7", [HealthEvent(False, "GPU-a1", "XID: 13, pid=7", 13)]),
        ("12:00 [gpu-health] [CRITICAL] GPU-b: XID: 79: off the bus\r\nnext", [HealthEvent(True, "GPU-b", "XID: 79: off the bus", 79)]),
        ("[gpu-health] [CRITICAL] GPU-b: too hot", [HealthEvent(True, "GPU-b", "too hot")]),
        ("[gpu-health] [WARN] GPU-a: XID 31\n[gpu-health] [WARN] GPU-b: Xid (PCI) 8", [HealthEvent(False, "GPU-a", "XID 31", 31), HealthEvent(False, "GPU-b", "Xid (PCI) 8")]),
        ("[gpu-health] [INFO] GPU-a: fine", []),
        ("[gpu-health] [WARN]\nGPU-a", []),
    ],
)  # fmt: skip
def test_health(text: str, events: list[HealthEvent]) -> None:
    assert list(health_events(text)) == events


@given(st.text())
def test_any_text(text: str) -> None:
    health_events(text)
    (event, *_) = health_events(f"[gpu-health] [WARN] GPU-a: {text}")
    assert not event.critical
    assert event.message == event.message.strip()
