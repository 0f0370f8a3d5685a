"""The ledger's record of a service: what its containers have cost, written again as its calls come and go."""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.session.run.bookkeeper import keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.session.costs.ledger import Record
    from modal_gpu_magic.session.service.usage import Usage

PAUSE_SECONDS: Final = 5.0
"""Least time between two records of a service: a service may take a thousand calls a second."""


class ServiceBooks:
    """Writes the record of one service, from its start to its end.

    Args:
        template: the facts of the service, with the price of one container as `hourly`.
        usage: the run time of its containers.
        write: writes a record.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self, template: Record, usage: Usage, write: Callable[[Record], None], clock: Callable[[], float] = time.time
    ) -> None:
        now = clock()
        self._usage, self._write, self._clock = usage, write, clock
        self._record = replace(template, id=f"{uuid.uuid4().hex[:12]}-service", kind="service", began=now)
        self._process = os.getpid()
        self._written_at = float("-inf")
        self._is_open = True
        self._lock = threading.Lock()
        keep(self)
        self.note()

    def note(self) -> None:
        """Write what is known now, unless that was done a moment ago."""
        with self._lock:
            now = self._clock()
            if self._is_open and now - self._written_at >= PAUSE_SECONDS:
                self._written_at = now
                self._put(self._current(now, now + self._usage.ends_in))

    def close(self) -> None:
        """Write the whole cost: the service has ended, or this kernel ends, and its containers with it."""
        with self._lock:
            if self._is_open and os.getpid() == self._process:
                self._is_open = False
                now = self._clock()
                self._put(self._current(now, now))

    def open_records(self) -> tuple[Record, ...]:
        """Return the record up to this moment; none, once the service has ended."""
        now = self._clock()
        return (self._current(now, now),) if self._is_open else ()

    def _current(self, now: float, until: float) -> Record:
        seconds, hourly = self._usage.seconds, self._record.hourly
        return replace(
            self._record,
            ended=now,
            until=until,
            phases={"serving": seconds},
            dollars=None if hourly is None else hourly * seconds / 3600,
            hourly=None if hourly is None else hourly * self._usage.alive,
            nodes=max(1, self._usage.alive),
        )

    def _put(self, record: Record) -> None:
        try:
            self._write(record)
        except (OSError, ValueError):
            return  # the runs of the sessions say so
