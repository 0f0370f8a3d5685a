"""What the detached sessions of an account do, as seen from outside: no container is started or disturbed."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from modal_gpu_magic.sdk.deployed import deployed_runner, files_of
from modal_gpu_magic.sdk.log_reader import first_and_last
from modal_gpu_magic.sdk.registry import Entry, Registry

if TYPE_CHECKING:
    from collections.abc import Collection

    from modal_gpu_magic.sdk.client import Backend

AT_A_TIME: Final = 8
"""Sessions that are looked at at the same time."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A session at one time. Times are in seconds since the epoch.

    Attributes:
        entry: its entry.
        doing: what its container does.
        since: since when; None: not known.
        until: when an idle container ends at the latest.
        spent: estimated cost of the container of the last run so far, USD; None: not known.
        last_line: the last line that the last run has printed.
    """

    entry: Entry
    doing: Literal["waiting", "running", "idle", "not running"]
    since: float | None = None
    until: float | None = None
    spent: float | None = None
    last_line: str = ""


def sightings(backend: Backend, among: Collection[str] | None = None) -> tuple[Sighting, ...]:
    """Return the detached sessions of an account: all, or those of some names."""
    entries = [each for each in Registry(backend).entries() if among is None or each.session in among]
    with ThreadPoolExecutor(AT_A_TIME, "modal-gpu-look") as pool:
        return tuple(pool.map(lambda entry: _look(backend, entry), entries))


def _look(backend: Backend, entry: Entry) -> Sighting:
    run, now, stats = entry.run, time.time(), None
    with contextlib.suppress(Exception):  # an App that was stopped elsewhere
        runner: Any = deployed_runner(entry, backend.client)
        function = runner if entry.nodes > 1 else runner().run
        stats = function.get_current_stats()
    is_warm = stats is not None and stats.num_total_runners > 0
    if run is None:
        return Sighting(entry, "idle" if is_warm else "not running")
    seen = None
    with contextlib.suppress(Exception):
        seen = first_and_last(files_of(backend, entry), entry.session, run.id)
    if seen is None or not seen.booted_at:
        waits = stats is not None and (stats.backlog > 0 or is_warm)
        return Sighting(entry, "waiting" if waits else "not running", run.sent_at)
    ended_at = seen.ended_at
    until = None if ended_at is None else ended_at + entry.idle_seconds
    last = now if is_warm else (until or entry.worst_end or now)
    spent = None if entry.hourly is None else entry.hourly * max(0.0, min(now, last) - seen.booted_at) / 3600
    if not is_warm:
        return Sighting(entry, "not running", until, None, spent, seen.last_line)
    if ended_at is None:
        return Sighting(entry, "running", seen.started_at, None, spent, seen.last_line)
    return Sighting(entry, "idle", ended_at, until, spent, seen.last_line)
