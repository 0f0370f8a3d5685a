"""The detached sessions of an account: one named Dict, which every kernel of the account reads and writes.

A session has an entry, which a kernel writes when it claims the session, and under another key the runs of each claim,
which the kernel of that claim alone writes: no kernel overwrites what another one has written. All is plain data of
JSON's types.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field, fields, replace
from heapq import merge
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from modal_gpu_magic.plan.machine.definition import Machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modal_gpu_magic.sdk.client import Backend

DICT: Final = "modal-gpu-sessions"
"""Name of the Dict. Modal keeps an entry for 7 days after its last use, as long as the results of calls."""
_NOT_KEPT: Final = frozenset({"image_object", "env"})
"""Fields of a machine that an entry lacks: an object of a notebook, and values that may be secrets."""
MOST_RUNS: Final = 20
"""Runs of a session that are kept because no kernel has reported their end. The oldest are dropped first."""
_MOST_KERNELS: Final = 8
"""Kernels of a session whose runs are looked for in the log."""
_ID: Final = uuid4().hex[:8]
_RUN: Final = re.compile(r"(.+)-(\d+)")


@dataclass(frozen=True, slots=True)
class SentRun:
    """A run that was sent, or was about to be.

    Attributes:
        id: the run, chosen by its kernel.
        count: the cell's execution count.
        timeout: the cell's timeout, seconds; None: Modal's limit.
        sent_at: when it was sent, seconds since the epoch.
        call: Modal's id of the call; empty: its kernel has not seen the answer to the spawn.
        code: the first line of the cell's code.
    """

    id: str
    count: int
    timeout: float | None
    sent_at: float
    call: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs that a claim knows, oldest first: those whose end no kernel has reported, and the last one.

    Attributes:
        sent: the runs.
        dropped: number of runs that were dropped because there were too many.
        reported: ids of runs in `sent` whose end a kernel has reported; they leave with the next run.
        kernels: beginnings of the run ids of the kernels that may have sent a run which is in no list, each with the
            number of its last run that was in one.
        idle_seconds: how long an idle container stays, since a kernel has changed it; None: as the entry says.
        queued: first lines of the cells that wait in the kernel: they end with it.
    """

    sent: tuple[SentRun, ...] = ()
    dropped: int = 0
    reported: frozenset[str] = frozenset()
    kernels: dict[str, int] = field(default_factory=dict)
    idle_seconds: int | None = None
    queued: tuple[str, ...] = ()

    def with_run(self, run: SentRun) -> Runs:
        """Return the runs with one more, or with another state of a run that they have."""
        if any(each.id == run.id for each in self.sent):
            return replace(self, sent=tuple(run if each.id == run.id else each for each in self.sent))
        kept = (*(each for each in self.sent if each.id not in self.reported), run)
        left = kept[-MOST_RUNS:]
        dropped = self.dropped + len(kept) - len(left)
        return replace(self, sent=left, dropped=dropped, reported=frozenset(), kernels=self._numbered(run.id))

    def with_end(self, run: str) -> Runs:
        """Return the runs once a kernel has reported the end of one."""
        if all(each.id != run for each in self.sent):
            return self
        reported, last = self.reported | {run}, self.sent[-1]
        kept = tuple(each for each in self.sent if each.id not in reported or each is last)
        return replace(self, sent=kept, reported=reported & {each.id for each in kept})

    def with_found(self, run: SentRun) -> Runs:
        """Return the runs with one that only its log knows: its kernel has seen the end of those before."""
        split = numbered(run.id)
        seen = {each.id for each in self.sent if split is not None and (numbered(each.id) or ("", 0))[0] == split[0]}
        queued = self.queued[1:] if self.queued[:1] == (run.code,) else self.queued  # they are sent in order
        return replace(self, reported=self.reported | seen, queued=queued).with_run(run)

    def of_kernel(self, kernel: str) -> Runs:
        """Return the runs as another kernel takes them over, which may send runs from now on."""
        others = [(each, number) for each, number in self.kernels.items() if each != kernel]
        kernels = {**dict(others[1 - _MOST_KERNELS :]), kernel: self.kernels.get(kernel, 0)}
        return replace(self, kernels=kernels, queued=())

    def unlisted(self, runs: Iterable[str]) -> tuple[str, ...]:
        """Return those of some ids that are of runs which a kernel has sent and could not announce.

        They are sorted by kernel, then by number.
        """
        found = [(*split, run) for run in runs if (split := self._late(run)) is not None]
        return tuple(run for _, _, run in sorted(found))

    def _late(self, run: str) -> tuple[str, int] | None:
        split = numbered(run)
        return split if split is not None and split[1] > self.kernels.get(split[0], split[1]) else None

    def _numbered(self, run: str) -> dict[str, int]:
        split = numbered(run)
        if split is None:
            return self.kernels
        return {**self.kernels, split[0]: max(split[1], self.kernels.get(split[0], 0))}


@dataclass(frozen=True, slots=True)
class Entry:
    """A detached session.

    Attributes:
        session: its name.
        app: the name of its App, Queue and Volume at Modal.
        machine: the machine's fields.
        title: the machine for display.
        hourly: price of the machine, USD per hour; None: not known.
        idle_seconds: how long an idle container stays.
        owner: the claim of the kernel that may send runs.
        owner_name: that kernel, for people.
        owned_at: since when it has the session, seconds since the epoch.
        made_at: when the session was made, seconds since the epoch.
        runs: the runs of the owner's claim. The entry's row does not have them.
    """

    session: str
    app: str
    machine: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    hourly: float | None = None
    idle_seconds: int = 0
    owner: str = ""
    owner_name: str = ""
    owned_at: float = 0.0
    made_at: float = 0.0
    runs: Runs = field(default_factory=Runs)

    @property
    def run(self) -> SentRun | None:
        """The last run; None: no run was sent."""
        return self.runs.sent[-1] if self.runs.sent else None

    @property
    def present_machine(self) -> Machine:
        """The machine, with the idle time that a kernel has set last."""
        machine = machine_of(self.machine)
        is_set = self.idle_seconds not in (0, machine.scaledown)
        return replace(machine, keep_warm=self.idle_seconds) if is_set else machine

    @property
    def nodes(self) -> int:
        """The number of containers that run a cell at once."""
        return int(self.machine.get("nodes", 1))

    def with_runs(self, runs: Runs) -> Entry:
        """Return the entry with the runs of its owner's claim, and what its kernel has changed since."""
        idle = self.idle_seconds if runs.idle_seconds is None else runs.idle_seconds
        return replace(self, runs=runs, idle_seconds=idle)

    @property
    def worst_end(self) -> float | None:
        """When its container has ended at the latest, seconds since the epoch; None: not known."""
        if self.run is None or self.run.timeout is None:
            return None
        return self.run.sent_at + self.run.timeout + self.idle_seconds


def machine_row(machine: Machine) -> dict[str, Any]:
    """Return the fields of a machine as plain data."""
    kept = [each.name for each in fields(Machine) if each.name not in _NOT_KEPT]
    row = {name: _plain(getattr(machine, name)) for name in kept}
    return {**row, "gpus": [str(spec) for spec in machine.gpus]}


def machine_of(row: dict[str, Any]) -> Machine:
    """Return the machine of an entry; fields that this version does not know are left out."""
    known = {each.name for each in fields(Machine)} - {"gpus"}
    options = {name: _frozen(value) for name, value in row.items() if name in known}
    return Machine.of(*row.get("gpus", ()), **options)


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value


def kernel_id() -> str:
    """Return the beginning of the ids of this process's runs: another machine may have a process of the same number."""
    return f"{os.getpid()}-{_ID}"


def numbered(run: str) -> tuple[str, int] | None:
    """Return the beginning of a run's id, which is its kernel's, and the run's number there; None: another form."""
    found = _RUN.fullmatch(run)
    return (found[1], int(found[2])) if found else None


def is_later(run: str, earlier: str) -> bool:
    """Whether a kernel has sent a run after another one of its."""
    one, other = numbered(run), numbered(earlier)
    return one is not None and other is not None and one[0] == other[0] and one[1] > other[1]


def in_order(found: Iterable[SentRun]) -> Iterator[SentRun]:
    """Yield the runs of several kernels by time, and those of each kernel in their order, whatever the clocks say.

    Kernels may have had the session by turns, so their runs alternate.

    Args:
        found: the runs; those of one kernel follow one another in order.
    """
    by_kernel = groupby(found, lambda run: (numbered(run.id) or ("", 0))[0])
    return merge(*(list(runs) for _, runs in by_kernel), key=lambda run: run.sent_at)


class Registry:
    """The entries of an account."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._opened: Any = None

    @property
    def _dict(self) -> Any:
        if self._opened is None:
            import modal

            self._opened = modal.Dict.from_name(DICT, create_if_missing=True, client=self._backend.client)
        return self._opened

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, by name."""
        rows = dict(self._dict.items())
        found = [entry for row in rows.values() if (entry := entry_of(row)) is not None]
        whole = [each.with_runs(runs_of(rows.get(_runs_key(each.session, each.owner)))) for each in found]
        return tuple(sorted(whole, key=lambda each: each.session))

    def get(self, session: str) -> Entry | None:
        """Return the entry of a session, with its runs; None: the account has no such session."""
        entry = self.claim_of(session)
        if entry is None:
            return None
        return entry.with_runs(runs_of(self._dict.get(_runs_key(session, entry.owner))))

    def claim_of(self, session: str) -> Entry | None:
        """Return the entry of a session without its runs: one request."""
        return entry_of(self._dict.get(session))

    def claim(self, entry: Entry) -> None:
        """Write the entry of a session, and the runs of its owner, in one request."""
        self._dict.update(
            {entry.session: entry_row(entry), _runs_key(entry.session, entry.owner): runs_row(entry.runs)}
        )

    def put_runs(self, session: str, claim: str, runs: Runs) -> None:
        """Write the runs of a claim."""
        self._dict.put(_runs_key(session, claim), runs_row(runs))

    def remove(self, session: str) -> None:
        """Remove the entry of a session, if any, and the runs of all its claims."""
        self._dict.pop(session, None)
        for key in [key for key in self._dict.keys() if str(key).startswith(_runs_key(session, ""))]:  # noqa: SIM118 - Modal's Dict cannot be iterated over
            self._dict.pop(key, None)


def _runs_key(session: str, claim: str) -> str:
    """Return the key of a claim's runs. No session's name has a slash."""
    return f"{session}/{claim}"


def entry_row(entry: Entry) -> dict[str, Any]:
    """Return an entry as plain data, without its runs."""
    return {name: value for name, value in asdict(entry).items() if name != "runs"}


def runs_row(runs: Runs) -> dict[str, Any]:
    """Return the runs of a claim as plain data."""
    sent = [asdict(run) for run in runs.sent]
    return {**asdict(replace(runs, sent=())), "sent": sent, "reported": sorted(runs.reported)}


def runs_of(row: Any) -> Runs:
    """Return the runs in a row; none if the row is missing, or of a version that this one cannot read."""
    if not isinstance(row, dict):
        return Runs()
    try:
        sent = tuple(SentRun(**_known(SentRun, run)) for run in row.get("sent", ()))
        kernels = {str(each): int(number) for each, number in row.get("kernels", {}).items()}
        reported = frozenset(row.get("reported", ()))
        queued = tuple(map(str, row.get("queued", ())))
        return Runs(sent, int(row.get("dropped", 0)), reported, kernels, row.get("idle_seconds"), queued)
    except (TypeError, ValueError, AttributeError):
        return Runs()


def entry_of(row: Any) -> Entry | None:
    """Return the entry of a row; None: the row is of a version that this one cannot read, or no entry."""
    if not isinstance(row, dict):
        return None
    try:
        return Entry(**{name: value for name, value in _known(Entry, row).items() if name != "runs"})
    except TypeError:
        return None


def _known(kind: type[Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row that a class has."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in row.items() if name in names}
