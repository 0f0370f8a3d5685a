"""The detached sessions of an account: one named Dict, which every kernel of the account reads and writes.

An entry is written before each spawn, with the id of the run: a kernel that attaches finds a run whose spawn was never
answered. Entries are plain data of JSON's types.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, cast

from modal_gpu_magic.plan.machine.definition import Machine

if TYPE_CHECKING:
    from modal_gpu_magic.sdk.client import Backend

DICT: Final = "modal-gpu-sessions"
"""Name of the Dict. Modal keeps an entry for 7 days after its last use, as long as the results of calls."""
_NOT_KEPT: Final = frozenset({"image_object", "env"})
"""Fields of a machine that an entry lacks: an object of a notebook, and values that may be secrets."""


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
        run: the last run; None: no run was sent.
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
    run: SentRun | None = None

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
        rows = [_entry(row) for row in self._dict.values()]
        return tuple(sorted((row for row in rows if row is not None), key=lambda each: each.session))

    def get(self, session: str) -> Entry | None:
        """Return the entry of a session; None: the account has no such session."""
        return _entry(self._dict.get(session))

    def put(self, entry: Entry) -> None:
        """Write the entry of a session."""
        self._dict.put(entry.session, asdict(entry))

    def remove(self, session: str) -> None:
        """Remove the entry of a session, if any."""
        self._dict.pop(session, None)


def _entry(row: Any) -> Entry | None:
    """Return the entry of a row; None: the row is of a version that this one cannot read."""
    if not isinstance(row, dict):
        return None
    known = {each.name for each in fields(Entry)}
    try:
        entry = Entry(**{name: value for name, value in row.items() if name in known})
        return replace(entry, run=SentRun(**cast("dict[str, Any]", entry.run)) if entry.run else None)
    except TypeError:
        return None
