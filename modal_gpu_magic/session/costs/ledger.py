"""The ledger: what each run and each idle time of a container has cost, as JSON lines on disk, one file a month.

Several kernels append to one file at once: lines are written by one `write` with O_APPEND, so they never mix. Nothing
is changed in place: a record that goes on is written again under its id, and a reader takes the last one. So a kernel
that dies leaves what was known of its containers. A line that cannot be read is skipped and counted.

A record has no source code, no values and no paths: the notebook's file name is all it says of the notebook.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, Literal

from modal_gpu_magic.sdk.state_directory import made, state_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SCHEMA: Final = 1
"""Version of the records that this package writes and reads."""
FOLDER: Final = "ledger"
_MONTH: Final = re.compile(r"(\d{4}-\d{2})\.jsonl")
_LINE_BYTES: Final = 64 << 10
"""Longest line that is read; a record has less than a kilobyte."""

Kind = Literal["run", "idle", "service"]
KINDS: Final = ("run", "idle", "service")


@dataclass(frozen=True, slots=True)
class Record:
    """One run, one idle time of a session's containers, or one service.

    Attributes:
        id: names the record; a later record of the same id replaces it.
        kind: `run`; `idle`: containers waited for a cell, or ended; `service`.
        began: begin, seconds since the epoch.
        ended: end, or the time to which the figures hold, seconds since the epoch.
        until: the containers cost `hourly` to this time at most, if no later record replaces this one. `ended`: closed.
        backend: `cloud` or `local`; local money is simulated.
        session: name of the session or service.
        machine: what was asked for, `2 x H100:8`.
        gpu: the GPU that is billed, `H100`; `CPU` without any.
        nodes: containers of the machine.
        notebook: file name of the notebook that has sent the run; empty: not known. A kernel that attaches to the run
            writes its own, which `Ledger.read` replaces.
        detached: whether the containers outlive the kernel, and another kernel may end them.
        outcome: how the run ended; empty: it runs, or the record is no run.
        phases: billed seconds by phase.
        dollars: estimated cost until `ended`, USD; None: the price is not known.
        hourly: price of all nodes together, USD per hour; None: not known.
        price_date: day of the price, ISO 8601.
        price_source: source of the price.
    """

    id: str
    kind: Kind
    began: float
    ended: float
    until: float
    backend: str
    session: str
    machine: str
    gpu: str
    nodes: int = 1
    notebook: str = ""
    outcome: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    dollars: float | None = None
    hourly: float | None = None
    price_date: str = ""
    price_source: str = ""
    detached: bool = False

    def dollars_at(self, now: float) -> float | None:
        """Return the cost until `now`, USD: an open record costs on, to `until` at most. None: not known."""
        more = max(0.0, min(now, self.until) - self.ended)
        if self.dollars is None or (more and self.hourly is None):
            return None
        return self.dollars + (self.hourly or 0.0) * more / 3600

    def dollars_within(self, start: float, end: float, now: float) -> float | None:
        """Return the part of the cost that belongs to a time, USD; a cost is spread evenly over its duration."""
        total, last = self.dollars_at(now), max(self.ended, min(now, self.until))
        if total is None:
            return None
        seconds = last - self.began
        if seconds <= 0:
            return total if start <= last < end else 0.0
        return total * max(0.0, min(end, last) - max(start, self.began)) / seconds

    def seconds_at(self, now: float) -> float:
        """Return the billed seconds until `now`."""
        return sum(self.phases.values()) + max(0.0, min(now, self.until) - self.ended) * self.nodes

    def closed(self, at: float) -> Record:
        """Return the record of containers that were open and have ended at a time, seconds since the epoch."""
        phase = "idle" if self.kind == "idle" else "running"
        more = self.seconds_at(at) - sum(self.phases.values())
        phases = {**self.phases, phase: self.phases.get(phase, 0.0) + more}
        return replace(self, ended=at, until=at, dollars=self.dollars_at(at), phases=phases)


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read from the ledger.

    Attributes:
        records: the last record of each id.
        skipped: lines that could not be read.
    """

    records: tuple[Record, ...] = ()
    skipped: int = 0


class Ledger:
    """The ledger of this user. `folder`: its directory; None: in the user's state directory."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = state_directory() / FOLDER if folder is None else folder

    def append(self, *records: Record) -> None:
        """Write records.

        Raises:
            OSError: they cannot be written.
        """
        lines: dict[str, bytes] = {}
        for record in records:
            month = _month(record.began)
            lines[month] = lines.get(month, b"") + _written(record)
        for month, text in lines.items():
            self._append(f"{month}.jsonl", text)

    def _append(self, name: str, text: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self.folder / name, flags, 0o600)
        except FileNotFoundError:
            descriptor = os.open(made(self.folder) / name, flags, 0o600)
        try:
            end = os.fstat(descriptor).st_size
            # A full disk may have cut the last line: the new one begins on a line of its own.
            is_cut = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            whole = (b"\n" if is_cut else b"") + text
            if os.write(descriptor, whole) != len(whole):
                raise OSError("the disk is full")
        finally:
            os.close(descriptor)

    def read(self, start: float = 0.0) -> Contents:
        """Return the records that end at `start` or later, seconds since the epoch. No ledger: no records."""
        earliest = _month(start)
        records: dict[str, Record] = {}
        skipped = 0
        for path in self._files():
            if path.name[:7] < earliest and not _may_reach(path, start):
                continue
            for line in _lines(path):
                record = read_line(line)
                if record is None:
                    skipped += 1
                else:
                    records[record.id] = replaced(records.get(record.id), record)
        kept = (each for each in records.values() if max(each.ended, each.until) >= start)
        return Contents(tuple(kept), skipped)

    def close(self, session: str, backend: str, at: float) -> None:
        """Close the open records of a detached session that was ended, such as one whose kernel was killed.

        Args:
            session: name of the session.
            backend: `cloud` or `local`.
            at: when its containers ended, seconds since the epoch.

        Raises:
            OSError: a record cannot be written.
        """
        for record in self.read(at).records:
            is_of_it = record.detached and (record.session, record.backend) == (session, backend)
            if is_of_it and record.ended < at < record.until:
                self.append(record.closed(at))

    def _files(self) -> list[Path]:
        """Return the files, oldest first."""
        try:
            return sorted(path for path in self.folder.iterdir() if _MONTH.fullmatch(path.name))
        except OSError:
            return []


def replaced(earlier: Record | None, later: Record) -> Record:
    """Return the later record of an id; the run belongs to the notebook that has sent it."""
    return later if earlier is None else replace(later, notebook=earlier.notebook)


def read_line(line: bytes) -> Record | None:
    """Return the record of a line; None: the line is damaged, or of another version of this package."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not _is_count(version := content.get("v")) or version != SCHEMA:
        return None
    known = {name: content[name] for name in _TYPES if name in content}
    if not all(_TYPES[name](value) for name, value in known.items()):
        return None
    try:
        return Record(**known)
    except TypeError:  # a field is missing
        return None


def _written(record: Record) -> bytes:
    content = {"v": SCHEMA, **{name: getattr(record, name) for name in _TYPES}}
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines with text; a file that cannot be read has none. A line that is far too long is cut."""
    try:
        with path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                if line.strip():
                    yield line
    except OSError:
        return


def _month(at: float) -> str:
    """`2026-11`: the month of a time in UTC, which names the file of the records that began then."""
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m}"


def _may_reach(path: Path, start: float) -> bool:
    """Whether a file of an earlier month was written since `start`: a record in it may end later than its month."""
    try:
        return path.stat().st_mtime >= start
    except OSError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_price(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_seconds(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_NUMBERS: Final = ("began", "ended", "until")
_CHECKS: Final = {
    **dict.fromkeys(_NUMBERS, _is_number),
    "kind": lambda value: value in KINDS,
    "nodes": _is_count,
    "detached": lambda value: isinstance(value, bool),
    "phases": _are_seconds,
    "dollars": _is_price,
    "hourly": _is_price,
}
_TYPES: Final = {each.name: _CHECKS.get(each.name, _is_text) for each in fields(Record)}
"""What each field must be."""


def known_sum(amounts: Iterable[float | None]) -> tuple[float, int]:
    """Return the sum of the amounts that are known, and how many are not."""
    found = list(amounts)
    return sum(each for each in found if each is not None), sum(each is None for each in found)
