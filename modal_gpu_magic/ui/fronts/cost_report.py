"""The report of `%modal_gpu costs`: one card a backend with charts and tables, and the same as text. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.plan.machine.quote import about, dollars
from modal_gpu_magic.plan.table import Column, Row, Table
from modal_gpu_magic.session.costs.summary import Summary
from modal_gpu_magic.ui.fronts.bars import columns, rows
from modal_gpu_magic.ui.fronts.card import Card, card_html, card_text
from modal_gpu_magic.ui.fronts.durations import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from modal_gpu_magic.session.costs.ledger import Record
    from modal_gpu_magic.session.costs.summary import Amount
    from modal_gpu_magic.ui.fronts.picture import Chart

TITLES: Final = {"today": "costs of today", "week": "costs of the last 7 days", "month": "costs of this month"}
NAME_WIDTH: Final = 40
"""Longest line of a name in a table, characters."""
BAR_WIDTH: Final = 20
"""Longest bar of a text, characters."""
_FOLDED: Final = '<details open><summary style="cursor:pointer">by day, notebook and GPU</summary>{}</details>'
_GROUPS: Final = ("day", "notebook", "GPU")


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a report about one backend.

    Attributes:
        title: what it is about.
        summary: the sums.
        notes: sentences below.
        is_simulated: whether the money is simulated.
    """

    title: str
    summary: Summary
    notes: tuple[str, ...] = ()
    is_simulated: bool = False

    @property
    def card(self) -> Card:
        """The line of facts."""
        total = self.summary.total
        amount = about(total.cost)
        real = amount if total.cost is not None else f"cost {amount}"
        money = f"free ({amount} on Modal)" if self.is_simulated else real
        runs = f"{total.runs} run{'' if total.runs == 1 else 's'}"
        return Card("", (self.title, money, runs, f"{clock(total.seconds)} of containers", *self.notes))

    def tables(self, *, has_bars: bool) -> tuple[Table, ...]:
        """Return the sums by day, notebook and GPU; a day without costs is left out. `has_bars`: bars of text."""
        days = {str(day): amount for day, amount in self.summary.days.items() if amount.runs or amount.seconds}
        groups = (days, self.summary.notebooks, self.summary.gpus)
        return tuple(
            _table(name, group, self._cost, has_bars=has_bars)
            for name, group in zip(_GROUPS, groups, strict=True)
            if group
        )

    @property
    def _cost(self) -> str:
        """Head of the column with the money."""
        return "cost on Modal" if self.is_simulated else "cost"

    @property
    def charts(self) -> tuple[Chart, ...]:
        """The same sums as pictures."""
        days = [(_day(day), amount.cost) for day, amount in self.summary.days.items()]
        made = (columns("By day", days),) if len(days) > 1 else ()
        return (*made, rows("By notebook", _bars(self.summary.notebooks)), rows("By GPU", _bars(self.summary.gpus)))


def report_html(sections: Sequence[Section], extra: Sequence[Table] = ()) -> str:
    """Return the report as HTML; `extra`: more tables, below."""
    parts = [
        part
        for section in sections
        for tables in ["".join(table.html() for table in section.tables(has_bars=False))]
        for part in (card_html(section.card, section.charts), _FOLDED.format(tables))
    ]
    return "".join((*parts, *(table.html() for table in extra)))


def report_text(sections: Sequence[Section], width: int, extra: Sequence[Table] = ()) -> str:
    """Return the report as text of a width, in columns."""
    parts = [
        "\n\n".join((card_text(section.card, width), *(table.text(width) for table in section.tables(has_bars=True))))
        for section in sections
    ]
    return "\n\n".join((*parts, *(table.text(width) for table in extra)))


def price_notes(records: Iterable[Record]) -> tuple[str, ...]:
    """Return where the prices of the records come from, with their dates: estimates carry their date."""
    found = sorted({(each.price_source, each.price_date) for each in records if each.price_date})
    return tuple(f"estimates by {source} of {date}" for source, date in found)


def _table(name: str, amounts: Mapping[str, Amount], cost: str, *, has_bars: bool) -> Table:
    most = max((each.dollars for each in amounts.values()), default=0.0)
    heads = (
        Column(name, NAME_WIDTH),
        Column(cost, right=True),
        Column("runs", right=True),
        Column("containers", right=True),
    )
    rows = tuple(_row(name, amount, most if has_bars else None) for name, amount in amounts.items())
    return Table((*heads, Column("")) if has_bars else heads, rows)


def _row(name: str, amount: Amount, most: float | None) -> Row:
    """Return a row. `most`: the amount of the longest bar, USD; None: no bar."""
    bars = () if most is None else ("█" * round(BAR_WIDTH * max(0.0, amount.dollars) / most) if most > 0 else "",)
    unknown = f"without {amount.unknown} whose price is not known" if amount.unknown else ""
    text = "".join(each if each.isprintable() else "?" for each in name)
    return Row((text, dollars(amount.cost), str(amount.runs), clock(amount.seconds), *bars), unknown)


def _bars(amounts: Mapping[str, Amount]) -> list[tuple[str, float | None]]:
    return [(name, amount.cost) for name, amount in amounts.items()]


def _day(day: date) -> str:
    return f"{day:%m-%d}"
