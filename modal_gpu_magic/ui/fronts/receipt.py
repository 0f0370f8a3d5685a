"""The texts of a run: the status line during the run, the receipt after it. Pure functions."""

from __future__ import annotations

import posixpath
import shlex
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.machine.quote import dollars, rate
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modal_gpu_magic.session.run.front import State
    from modal_gpu_magic.session.run.receipt import Receipt

UNKNOWN = "–"
MAX_NAMED_FILES = 3
"""Most written files that a receipt names."""
TENTHS_BELOW, SECONDS_BELOW = 10, 120
"""Seconds below which a duration shows tenths, and whole seconds; longer ones show `m:ss`."""
_PHASES = {
    "connecting": "connecting",
    "building": "building image",
    "sending": "sending {subject}",
    "waiting": "waiting for {subject} since",
    "starting": "starting {subject}",
    "restoring": "restoring {subject}",
    "installing": "installing {subject}",
    "starting ranks": "starting {subject}",
    "running": "running on {subject}",
    "saving": "saving values on {subject}",
    "restarted": "restarted by Modal, running on {subject}",
    "stopping": "stopping on {subject}",
    "reconnecting": "reconnecting to {subject}",
    "copying": "copying {subject}",
}


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


def status_words(state: State) -> str:
    """Return the phase of a run: `waiting for H100:2`."""
    return _PHASES[state.phase].format(subject=state.subject)


def status_text(state: State) -> str:
    """Return the status line: `waiting for H100:2 0:12`, and the reason if known."""
    return f"{status_words(state)} {clock(state.seconds)}{' · ' + state.detail if state.detail else ''}"


def heading(receipt: Receipt) -> tuple[str, str]:
    """Return the outcome and the container's state after the run: `done`, `idle until 14:05`."""
    until = receipt.ended_at + receipt.idle_seconds
    return receipt.outcome, f"idle until {hour(until)}" if receipt.idle_seconds else "container stopped"


def hour(at: float) -> str:
    """`14:05`, in this machine's time zone."""
    return time.strftime("%H:%M", time.localtime(at))


def question_text(machine: str, hourly: float | None, seconds: float, worst: float) -> str:
    """Return the question: `4 x H100:8 ($126/h) for up to 1:00:00 may cost $126. Run it? [y/N] `."""
    return f"{machine} ({rate(hourly)}) for up to {duration(seconds)} may cost {dollars(worst)}. Run it? [y/N] "


def receipt_text(receipt: Receipt) -> str:
    """Return the receipt in one line, from the GPUs provided to advice on smaller ones.

    `H100:2 (asked H100:2) · queue 2.0 s · start 4.0 s · run 12 s · peak 9.8/80 GB · mean 76 %, peak 98 % · mean 512 W
    · cost $0.04 · idle until 14:05 adds up to $0.66 · prices of 2026-09-01 · L4:2 would fit: saves $6.30/h`
    """
    parts = [f"{receipt.got} (asked {receipt.asked})" if receipt.got else receipt.asked]
    if receipt.backend == "local":
        parts.append(_location(receipt))
    parts += [
        f"{word} {duration(seconds)}"
        for word, seconds in (("queue", receipt.waited), ("start", receipt.started), ("run", receipt.ran))
        if seconds is not None or word == "run"
    ]
    if receipt.outcome != "done":
        parts.append(receipt.outcome)
    parts += _load(receipt)
    if receipt.stays:
        parts.append(f"kept on the GPU: {', '.join(f'{name} ({why})' for name, why in receipt.stays)}")
    if receipt.wrote:
        parts.append(_wrote(receipt))
    parts += _money(receipt)
    if receipt.advice:
        parts.append(str(receipt.advice))
    return " · ".join(parts)


def _wrote(receipt: Receipt) -> str:
    """`wrote model.pt (12 MB): %modal_gpu get session:model.pt .`; many files by their common folder, if any."""
    named, more = receipt.wrote[:MAX_NAMED_FILES], len(receipt.wrote) - MAX_NAMED_FILES
    files = ", ".join(f"{path} ({size_text(nbytes)})" for path, nbytes in named)
    folder = posixpath.commonpath([posixpath.dirname(path) for path, _ in receipt.wrote])
    fetched = [folder] if folder and more > 0 else [path for path, _ in named]
    sources = " ".join(shlex.quote(f"session:{path}") for path in fetched)
    session = "" if receipt.session == "default" else f" --session {receipt.session}"
    return f"wrote {files}{f' and {more} more' if more > 0 else ''}: %modal_gpu get {sources} .{session}"


def _location(receipt: Receipt) -> str:
    """Return where a local run took place: on this machine's CPU, or on its GPUs if it has any."""
    if receipt.simulated:
        return f"local · CPU · {receipt.asked.rpartition(' x ')[2].split()[0]} simulated"
    return "local · CPU" if receipt.asked == "CPU" else "local"


def _money(receipt: Receipt) -> list[str]:
    """Return the estimated cost and the price date; a local run is free and shows the cost on Modal."""
    local = receipt.backend == "local"
    if receipt.cost is None:
        return ["free" if local else f"cost {UNKNOWN}"]
    cost = f"free (≈ {dollars(receipt.cost)} on Modal)" if local else f"cost {dollars(receipt.cost)}"
    money = [cost]
    if not local and receipt.idle_seconds and receipt.idle_cost is not None:
        until = hour(receipt.ended_at + receipt.idle_seconds)
        money.append(f"idle until {until} adds up to {dollars(receipt.idle_cost)}")
    return [*money, f"prices of {receipt.price_date}"]


def _load(receipt: Receipt) -> list[str]:
    """Return peak memory, utilisation and power of the GPUs, `a to b` where GPUs differ; empty without readings."""
    uses = receipt.uses
    if not uses:
        return []
    peak, total = _span([use.peak_mib for use in uses], _gb), _span([use.total_mib for use in uses], _whole_gb)
    mean, most = _span([use.mean_utilization for use in uses]), _span([use.peak_utilization for use in uses])
    power = _span([use.mean_power_w for use in uses])
    memory, load = f"peak {peak}/{total} GB", f"mean {mean} %, peak {most} %"
    if receipt.simulated:
        return [f"{memory}, {load} of this machine's memory and processors"]
    return [memory, load, f"mean {power} W"]


def _span(values: Sequence[float | None], text: Callable[[float], str] = "{:.0f}".format) -> str:
    """`9.8`, `0.4 to 9.8`, `–`."""
    known = [value for value in values if value is not None]
    texts = [text(min(known)), text(max(known))] if known else [UNKNOWN]
    return " to ".join(dict.fromkeys(texts))


def _gb(mib: float) -> str:
    """Format MiB as vendors do: nvidia-smi's 81559 MiB are an H100's 80 GB."""
    return f"{mib / 1024:.1f}" if round(mib / 1024, 1) or not mib else f"{mib / 1024:.2f}"


def _whole_gb(mib: float) -> str:
    return f"{mib / 1024:.0f}"
