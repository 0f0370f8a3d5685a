"""The texts of a run: the status line while it goes on, the receipt when it is over. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.quote import dollars

if TYPE_CHECKING:
    from modal_gpu_magic.session.front import State
    from modal_gpu_magic.session.receipt import Receipt

UNKNOWN = "–"
TENTHS_BELOW, SECONDS_BELOW = 10, 120
"""Seconds: durations below the first show tenths, below the second whole seconds, above it a clock."""
_PHASES = {
    "connecting": "connecting",
    "building": "building image",
    "sending": "sending {subject}",
    "waiting": "waiting for {subject}",
    "starting": "starting {subject}",
    "running": "running on {subject}",
    "stopping": "stopping on {subject}",
}


def clock(seconds: float) -> str:
    """`0:41`, `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def duration(seconds: float | None) -> str:
    """`12 ms`, `1.4 s`, `12 s`, `3:05`; `–` if unknown."""
    if seconds is None:
        return UNKNOWN
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < TENTHS_BELOW:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if round(seconds) < SECONDS_BELOW else clock(seconds)


def status_text(state: State) -> str:
    """One line: `waiting for H100:2 0:12`."""
    return f"{_PHASES[state.phase].format(subject=state.subject)} {clock(state.seconds)}"


def receipt_text(receipt: Receipt) -> str:
    """One line: `H100:2 · queue 2.0 s · start 4.0 s · run 12 s · run $0.04 · idle until 14:05 adds up to $0.66`."""
    parts = [receipt.asked]
    if receipt.backend == "local":
        parts.append(
            "local · CPU"
            + (f" · {receipt.asked.rpartition(' x ')[2].split()[0]} simulated" if receipt.simulated else "")
        )
    parts += [
        f"{word} {duration(seconds)}"
        for word, seconds in (("queue", receipt.waited), ("start", receipt.started), ("run", receipt.ran))
        if seconds is not None or word == "run"
    ]
    if receipt.outcome != "done":
        parts.append(receipt.outcome)
    if receipt.stays:
        parts.append(f"stays there: {', '.join(f'{name} ({why})' for name, why in receipt.stays)}")
    parts += _money(receipt)
    return " · ".join(parts)


def _money(receipt: Receipt) -> list[str]:
    """What it cost, as an estimate with its date; a local run is free and says what it would be at Modal."""
    local = receipt.backend == "local"
    if receipt.cost is None:
        return ["free here" if local else f"cost {UNKNOWN}"]
    cost = f"free here, at Modal {dollars(receipt.cost)}" if local else f"cost {dollars(receipt.cost)}"
    money = [cost]
    if not local and receipt.idle_seconds and receipt.idle_cost is not None:
        until = time.strftime("%H:%M", time.localtime(receipt.ended_at + receipt.idle_seconds))
        money.append(f"idle until {until} adds up to {dollars(receipt.idle_cost)}")
    return [*money, f"prices of {receipt.price_date}"]
