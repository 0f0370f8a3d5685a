"""`%modal_gpu costs [today|week|month] [--bill]`: what the ledger has, and beside it what Modal has billed."""

from __future__ import annotations

import shutil
import time
from datetime import timezone
from typing import TYPE_CHECKING, Final, cast

from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.plan.machine.quote import UNKNOWN, dollars
from modal_gpu_magic.plan.table import WIDTH, Column, Row, Table
from modal_gpu_magic.session.costs.ledger import Ledger
from modal_gpu_magic.session.costs.summary import SPANS, Period, joined, summarise
from modal_gpu_magic.session.run.bookkeeper import running_now
from modal_gpu_magic.ui.fronts.cost_report import TITLES, Section, price_notes, report_html, report_text
from modal_gpu_magic.ui.fronts.moments import zone_named
from modal_gpu_magic.ui.widgets.reader import READER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.sdk.billing import Billed
    from modal_gpu_magic.session.costs.ledger import Contents, Record
    from modal_gpu_magic.session.costs.summary import Span

BILL: Final = "--bill"
DEFAULT: Final = "week"
_MEANT: Final = {
    **dict.fromkeys(("day", "daily", "now"), "today"),
    **dict.fromkeys(("weekly", "7d"), "week"),
    **dict.fromkeys(("monthly", "30d", "all"), "month"),
}
NO_BILL: Final = "The local backend is free, so no bill exists."
NOTHING: Final = "The ledger has no run of this time; each %%modal_gpu cell adds one."
OFF: Final = "The ledger is off: %config ModalGpu.ledger = True switches it on."


def read(rest: str) -> tuple[Span, bool]:
    """Return the period, and whether the bill is asked for.

    Raises:
        LineError: a word is neither.
    """
    span: Span = DEFAULT
    has_bill = False
    for word in rest.split():
        if word == BILL:
            has_bill = True
        elif word.lower() in SPANS:
            span = cast("Span", word.lower())
        else:
            near = _MEANT.get(word.lower()) or next(iter(nearest(word, (*SPANS, BILL), limit=1)), None)
            meant = f"did you mean {near}?" if near else f"write {', '.join(SPANS)} or {BILL}."
            raise LineError(f"costs has no {word}; {meant}", rest, rest.find(word), rest.find(word) + len(word))
    return span, has_bill


def show(rest: str, backend: str, *, has_ledger: bool) -> None:
    """Display the report.

    Args:
        rest: the words after `costs`.
        backend: the backend of this kernel, whose bill is compared.
        has_ledger: whether the ledger is on.

    Raises:
        LineError: a word is no period.
        ModalGpuError: Modal cannot be asked for the bill.
    """
    from IPython.display import display

    span, has_bill = read(rest)
    period = Period.of(span, time.time(), zone_named(READER.zone))
    contents = Ledger().read(period.start)
    records = joined(contents.records, running_now())
    sections = sections_of(records, contents, span, period)
    tables = [bill_table(records, period)] if has_bill and backend == "cloud" else []
    notes = [] if sections else [NOTHING]
    notes += [] if has_ledger else [OFF]
    notes += [NO_BILL] if has_bill and backend == "local" else []
    for note in notes:
        print(note)
    if sections or tables:
        width = min(max(shutil.get_terminal_size((WIDTH, 0)).columns, 80), 160)
        text, html = report_text(sections, width, tables), report_html(sections, tables)
        display({"text/plain": text, "text/html": html}, raw=True)


def sections_of(records: Sequence[Record], contents: Contents, span: Span, period: Period) -> list[Section]:
    """Return a section for each backend with costs in the period: real money first."""
    made = []
    for backend, where in (("cloud", ""), ("local", "local backend, ")):
        summary = summarise(records, period, backend)
        if not (summary.total.runs or summary.total.seconds):
            continue
        notes = price_notes(each for each in records if each.backend == backend)
        if contents.skipped:
            notes += (f"{contents.skipped} damaged line{'s' * (contents.skipped > 1)} of the ledger left out",)
        made.append(Section(f"{where}{TITLES[span]}", summary, notes, is_simulated=backend == "local"))
    return made


def bill_table(records: Sequence[Record], period: Period) -> Table:
    """Return the ledger beside Modal's bill, by days in UTC, as Modal bills.

    Raises:
        ModalGpuError: Modal cannot be asked.
    """
    from modal_gpu_magic.sdk.billing import report

    utc = Period(period.days, timezone.utc, period.now)
    summary = summarise(records, utc, "cloud")
    billed = report(utc.start, utc.bounds(utc.days[-1])[1])
    rows = [
        _bill_row(str(day), amount.dollars, [each for each in billed if each.day == day])
        for day, amount in summary.days.items()
    ]
    ended = [day for day in utc.days if any(each.day == day for each in billed)]
    total = _bill_row("total of days with a bill", sum(summary.days[day].dollars for day in ended), list(billed))
    heads = (Column("day (UTC)"), Column("ledger", right=True), Column("bill, this package's Apps", right=True))
    foot = (
        "The ledger is this computer's, an estimate; the bill has other computers of the account, too.",
        "Modal bills whole days, some time after they have ended.",
    )
    return Table((*heads, Column("bill, whole workspace", right=True)), (*rows, total), foot)


def _bill_row(name: str, ledger: float, billed: Sequence[Billed]) -> Row:
    ours = sum(each.dollars for each in billed if each.is_ours)
    whole = sum(each.dollars for each in billed)
    amounts = (dollars(ours), dollars(whole)) if billed else (UNKNOWN, UNKNOWN)
    return Row((name, dollars(ledger), *amounts))
