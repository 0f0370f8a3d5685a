"""Sums over the ledger: by day, notebook and GPU. Pure.

Money at Modal and the simulated money of the local backend are never in one sum. An amount that is not known is left
out of the sums, and counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final, Literal

from modal_gpu_magic.session.costs.ledger import replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modal_gpu_magic.session.costs.ledger import Record

Span = Literal["today", "week", "month"]
SPANS: Final = ("today", "week", "month")
WEEK_DAYS: Final = 7
UNNAMED: Final = "(no name)"


@dataclass(frozen=True, slots=True)
class Period:
    """A time of whole days in one time zone, up to now.

    Attributes:
        days: the days, the first one first.
        zone: the time zone; None: this machine's.
        now: the end, seconds since the epoch.
    """

    days: tuple[date, ...]
    zone: tzinfo | None
    now: float

    @classmethod
    def of(cls, span: Span, now: float, zone: tzinfo | None = None) -> Period:
        """Return today, the last seven days, or the calendar month, which Modal bills by."""
        today = datetime.fromtimestamp(now, zone).date()
        count = {"today": 1, "week": WEEK_DAYS, "month": today.day}[span]
        return cls(tuple(today - timedelta(days=count - 1 - number) for number in range(count)), zone, now)

    def bounds(self, day: date) -> tuple[float, float]:
        """Return the begin and the end of a day, seconds since the epoch."""
        return _midnight(day, self.zone), _midnight(day + timedelta(days=1), self.zone)

    @property
    def start(self) -> float:
        """The begin of the first day, seconds since the epoch."""
        return self.bounds(self.days[0])[0]


@dataclass(slots=True)
class Amount:
    """A sum.

    Attributes:
        dollars: the known costs, USD.
        seconds: billed container-seconds.
        runs: runs and services.
        unknown: records whose cost is not known.
    """

    dollars: float = 0.0
    seconds: float = 0.0
    runs: int = 0
    unknown: int = 0

    @property
    def cost(self) -> float | None:
        """The known costs, USD; None: no cost is known."""
        return None if self.unknown and not self.dollars else self.dollars


@dataclass(frozen=True, slots=True)
class Summary:
    """The sums of one backend over a period, each by its name; `days` has every day of the period."""

    days: dict[date, Amount]
    notebooks: dict[str, Amount]
    gpus: dict[str, Amount]
    total: Amount


def summarise(records: Iterable[Record], period: Period, backend: str) -> Summary:
    """Return the sums of one backend, each group with the dearest first."""
    days = {day: Amount() for day in period.days}
    notebooks: defaultdict[str, Amount] = defaultdict(Amount)
    gpus: defaultdict[str, Amount] = defaultdict(Amount)
    total = Amount()
    for record in records:
        if record.backend != backend:
            continue
        for day, amount in days.items():
            start, end = period.bounds(day)
            part = share(record, start, end, period.now)
            if part is not None:
                for each in (amount, notebooks[record.notebook or UNNAMED], gpus[record.gpu], total):
                    _add(each, part)
    return Summary(days, _dearest_first(notebooks), _dearest_first(gpus), total)


def share(record: Record, start: float, end: float, now: float) -> Amount | None:
    """Return what a record adds to a time; None: nothing. A run counts where it began."""
    last = max(record.ended, min(now, record.until))
    if last < start or record.began >= end:
        return None
    seconds = max(last - record.began, 0.0)
    part = max(0.0, min(end, last) - max(start, record.began)) / seconds if seconds else float(start <= last < end)
    dollars = record.dollars_within(start, end, now)
    is_run = record.kind != "idle" and start <= record.began < end
    return Amount(dollars or 0.0, record.seconds_at(now) * part, int(is_run), int(dollars is None))


def spent(records: Sequence[Record], period: Period, backend: str) -> float:
    """Return the known costs of one backend over a period, USD."""
    return summarise(records, period, backend).total.dollars


def joined(written: Iterable[Record], current: Iterable[Record]) -> tuple[Record, ...]:
    """Return the ledger's records with this kernel's current ones in their place.

    A record that another kernel has written since is the later one: that kernel has attached to the session.
    """
    records = {each.id: each for each in written}
    for each in current:
        if each.id not in records or records[each.id].ended <= each.ended:
            records[each.id] = replaced(records.get(each.id), each)
    return tuple(records.values())


def _add(amount: Amount, part: Amount) -> None:
    amount.dollars += part.dollars
    amount.seconds += part.seconds
    amount.runs += part.runs
    amount.unknown += part.unknown


def _dearest_first(amounts: dict[str, Amount]) -> dict[str, Amount]:
    return dict(sorted(amounts.items(), key=lambda each: (-each[1].dollars, each[0])))


def _midnight(day: date, zone: tzinfo | None) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
