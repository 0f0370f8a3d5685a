"""The texts of a run: the status line during the run, the receipt after it. Pure functions."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, Literal

from modal_gpu_magic.catalog.gpus import recognise
from modal_gpu_magic.metrics.memory_text import memory_of
from modal_gpu_magic.plan.machine.quote import about, dollars
from modal_gpu_magic.session.run.phases import NOT_BILLED
from modal_gpu_magic.ui.fronts.card import Card, Detail, Moment
from modal_gpu_magic.ui.fronts.durations import UNKNOWN, clock, duration
from modal_gpu_magic.ui.fronts.moments import date_text, time_text
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from modal_gpu_magic.session.run.front import State
    from modal_gpu_magic.session.run.receipt import Receipt

MAX_NAMED_FILES = 3
"""Most written files that a receipt names."""
SMALLEST_TRANSFER = 1_000
"""Bytes below which a transfer is not listed: every answer has some."""
SHORTEST_PHASE = 0.05
"""Seconds below which a phase is not listed."""
_PHASES = {
    "queued": "waits for {subject}, running since",
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


def status_words(state: State) -> str:
    """Return the phase of a run: `waiting for H100:2`."""
    return _PHASES[state.phase].format(subject=state.subject)


def status_text(state: State) -> str:
    """Return the status line: `waiting for H100:2 0:12`, and the reason if known."""
    return f"{status_words(state)} {clock(state.seconds)}{' · ' + state.detail if state.detail else ''}"


@dataclass(frozen=True, slots=True)
class Container:
    """What became of a run's container.

    Attributes:
        state: `idle`: it waits for the next cell; `reused`: the next cell has begun; `ended`; `left`: the run goes on.
        at: when the idle container ends at the latest, when the next cell began, or when the container ended; seconds
            since the epoch; None: not known.
    """

    state: Literal["idle", "reused", "ended", "left"]
    at: float | None = None


_CONTAINER: Final = {
    "idle": ("idle until ", " at the latest"),
    "reused": ("idle until the next cell at ", ""),
    "ended": ("container ended at ", ""),
    "left": ("the cell is still running in its container", ""),
}
"""The words before and after the time. `at the latest` stays true in a file that was saved before the end."""


def container_after(receipt: Receipt) -> Container:
    """Return the container's state at the end of a run."""
    if receipt.is_left:
        return Container("left")
    return Container("idle", receipt.ended_at + receipt.idle_seconds) if receipt.idle_seconds else Container("ended")


def question_text(machine: str, price: str, seconds: float, worst: float) -> str:
    """Return the question: `4 x H100:8 ($126/h) for up to 1:00:00 may cost $126. Run it? [y/N] `."""
    return f"{machine} ({price}) for up to {duration(seconds)} may cost {dollars(worst)}. Run it? [y/N] "


def receipt_card(receipt: Receipt, container: Container, zone: tzinfo | None = None) -> Card:
    """Return the receipt of a run as a card. A fact that is not known is left out, but for time and cost.

    Args:
        receipt: the facts of the run.
        container: what became of the container since.
        zone: time zone of the reader; None: that of this machine.
    """
    rows = (
        ("Time", _phases(receipt), ""),
        ("Cost", _prices(receipt), ""),
        ("GPU", _load(receipt), ""),
        ("Values", _transfers(receipt), ""),
        ("Files", *_wrote(receipt)),
        ("Advice", [str(receipt.advice)] if receipt.advice else [], ""),
        ("Ended", [date_text(receipt.ended_at, zone)] if receipt.ended_at else [], ""),
    )
    return Card(
        outcome=receipt.outcome,
        facts=(_machine(receipt), _time(receipt), _money(receipt), *_peak(receipt)),
        moment=_moment(container, zone),
        details=tuple(Detail(label, tuple(facts), command) for label, facts, command in rows if facts),
    )


def _machine(receipt: Receipt) -> str:
    """`H100:2`, `H200 (asked H100)`, `H100:2 simulated on this CPU`: what ran the cell, and where unless at Modal."""
    first = _first_choice(receipt.asked)
    if receipt.simulated:
        return f"{first} simulated on this CPU"
    if receipt.backend == "local" and receipt.asked == "CPU":
        return "this machine's CPU"
    place = " of this machine" if receipt.backend == "local" else ""
    if receipt.got:
        return f"{receipt.got}{place}{'' if receipt.got == first else f' (asked {receipt.asked})'}"
    return f"{first if place else receipt.asked}{place}"


def _first_choice(asked: str) -> str:
    """`2 x H100:8` of `2 x H100:8 A100-80GB:8`."""
    nodes, times, specs = asked.rpartition(" x ")
    return f"{nodes}{times}{specs.split(maxsplit=1)[0] if specs.split() else specs}"


def _time(receipt: Receipt) -> str:
    """`18 s (cell 12 s)`: time of the whole run, and of the cell's code if that took less."""
    seconds = receipt.phase_seconds
    if not seconds:
        return f"time {UNKNOWN}"
    whole, cell = duration(sum(seconds.values())), duration(receipt.ran)
    return whole if receipt.ran is None or whole == cell else f"{whole} (cell {cell})"


def _phases(receipt: Receipt) -> list[str]:
    """`waiting 2.0 s (not billed), starting 4.0 s, running 12 s`; empty if the run had one phase."""
    long = [(phase, seconds) for phase, seconds in receipt.phase_seconds.items() if seconds >= SHORTEST_PHASE]
    words = (f"{phase} {duration(each)}{' (not billed)' if phase in NOT_BILLED else ''}" for phase, each in long)
    return [", ".join(words)] if len(long) > 1 else []


def _money(receipt: Receipt) -> str:
    """Return the estimated cost; a local run is free and shows the cost on Modal."""
    if receipt.backend == "local":
        return "free" if receipt.cost is None else f"free ({about(receipt.cost)} on Modal)"
    return f"cost {UNKNOWN}" if receipt.cost is None else dollars(receipt.cost)


def _prices(receipt: Receipt) -> list[str]:
    if receipt.cost is None:
        return [receipt.at_most] if receipt.at_most else []
    idle = receipt.backend == "cloud" and receipt.idle_seconds and receipt.idle_cost is not None
    words = [f"the idle time costs up to {dollars(receipt.idle_cost)}"] if idle else []
    words += [receipt.at_most] if receipt.at_most else []
    return [*words, receipt.prices]


def _peak(receipt: Receipt) -> list[str]:
    """Return peak memory and mean utilisation of the GPUs, `a to b` where GPUs differ; empty without readings."""
    words = {
        "peak {}": memory_of((use.peak_mib for use in receipt.uses), (use.total_mib for use in receipt.uses)),
        "utilisation {} %": _span([use.mean_utilization for use in receipt.uses]),
    }
    return [word.format(value) for word, value in words.items() if value]


def _load(receipt: Receipt) -> list[str]:
    uses, words = receipt.uses, []
    first = _first_choice(receipt.asked)
    if first != receipt.asked and (receipt.simulated or receipt.got == first):
        words.append(f"asked {receipt.asked}")
    sizes = {gpu.vram_gb for use in uses if (gpu := recognise(use.name or "", _whole(use.total_mib)))}
    if len(sizes) == 1:
        words.append(f"{sizes.pop()} GB nominal")
    most = _span([use.peak_utilization for use in uses])
    if most and most != _span([use.mean_utilization for use in uses]):
        words.append(f"utilisation at most {most} %")
    if power := _span([use.mean_power_w for use in uses]):
        words.append(f"mean power {power} W")
    return words


def _transfers(receipt: Receipt) -> list[str]:
    """`sent 12 MB`, `received 2.5 kB`, `kept on the GPU: big (300 MB, over --fetch 256MB)`."""
    sizes = (("sent", receipt.sent_bytes), ("received", receipt.received_bytes))
    words = [f"{word} {size_text(nbytes)}" for word, nbytes in sizes if nbytes >= SMALLEST_TRANSFER]
    if receipt.stays:
        words.append(f"kept on the GPU: {', '.join(f'{name} ({why})' for name, why in receipt.stays)}")
    return words


def _wrote(receipt: Receipt) -> tuple[list[str], str]:
    """Return `wrote model.pt (12 MB)` and the line that gets the files; many files by their common folder, if any."""
    if not receipt.wrote:
        return [], ""
    named, more = receipt.wrote[:MAX_NAMED_FILES], len(receipt.wrote) - MAX_NAMED_FILES
    files = ", ".join(f"{path} ({size_text(nbytes)})" for path, nbytes in named)
    folder = posixpath.commonpath([posixpath.dirname(path) for path, _ in receipt.wrote])
    fetched = [folder] if folder and more > 0 else [path for path, _ in named]
    sources = " ".join(shlex.quote(f"session:{path}") for path in fetched)
    session = "" if receipt.session == "default" else f" --session {receipt.session}"
    return [f"wrote {files}{f' and {more} more' if more > 0 else ''}"], f"%modal_gpu get {sources} .{session}"


def _moment(container: Container, zone: tzinfo | None) -> Moment:
    before, after = _CONTAINER[container.state]
    if container.at is None:
        return Moment("container ended" if container.state == "ended" else before)
    iso = datetime.fromtimestamp(container.at, timezone.utc).isoformat(timespec="seconds")
    return Moment(before, time_text(container.at, zone), after, iso, date_text(container.at, zone))


def _span(values: Sequence[float | None]) -> str | None:
    """`76`, `0 to 76`; None: no value is known."""
    known = [value for value in values if value is not None]
    texts = [f"{min(known):.0f}", f"{max(known):.0f}"] if known else []
    return " to ".join(dict.fromkeys(texts)) or None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
