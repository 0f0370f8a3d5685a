"""The card that ends a run: one line of facts, and details folded below; as HTML and as text. Pure functions.

The HTML needs no script, style sheet or kernel, and every style passes JupyterLab's sanitizer for untrusted notebooks,
which drops CSS variables: colours are translucent, or the page's own. GitHub drops all styles; the words stay.
"""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modal_gpu_magic.ui.fronts.picture import Chart

SEPARATOR: Final = " · "
TEXT_WIDTH: Final = 100
"""Width of the text in a notebook, columns."""
DOTS: Final = {"done": "#2e9e4f", "failed": "#d9534f", "lost": "#d9534f", "timed out": "#d9534f"}
"""Colour of the dot by outcome, visible on light and dark pages; other outcomes are grey."""
GREY: Final = "#888888"

_CARD: Final = (
    "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:4px 10px;margin:4px 0;font-size:13px;"
    "line-height:1.6;font-family:system-ui,sans-serif;overflow-wrap:anywhere"
)
_NOTE: Final = (
    "margin:2px 0;padding:0 var(--jp-code-padding,0);line-height:1.4;font-family:var(--jp-code-font-family,monospace);"
    "font-size:var(--jp-code-font-size,inherit);overflow-wrap:anywhere"
)
_DOT: Final = "display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:6px;background-color:"
_FACT: Final = "display:inline-block"
_ROW: Final = "padding:2px 0 2px 76px;text-indent:-60px"
_LABEL: Final = "display:inline-block;min-width:60px;font-weight:600;text-indent:0"
_CHARTS: Final = "padding:4px 0 0 0"
_CHART: Final = "margin:4px 14px 0 0;max-width:100%"


@dataclass(frozen=True, slots=True)
class Moment:
    """A fact with a time of day: `idle until 14:05 UTC at the latest`.

    Attributes:
        before: the words before the time.
        time: the time of day, with its zone.
        after: the words after the time.
        iso: the moment for programs, ISO 8601.
        full: the moment with its date, shown on hover.
    """

    before: str
    time: str = ""
    after: str = ""
    iso: str = ""
    full: str = ""

    @property
    def text(self) -> str:
        """The whole fact."""
        return f"{self.before}{self.time}{self.after}"


@dataclass(frozen=True, slots=True)
class Detail:
    """A row of the folded details.

    Attributes:
        label: the row's heading.
        facts: the facts.
        command: a line to copy into a cell; empty: none.
    """

    label: str
    facts: tuple[str, ...]
    command: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What a cell shows after its run.

    Attributes:
        outcome: how the run ended; empty for a service.
        facts: the facts of the line.
        moment: the last fact of the line, about the container; None: none.
        details: the folded rows.
    """

    outcome: str
    facts: tuple[str, ...]
    moment: Moment | None = None
    details: tuple[Detail, ...] = ()

    @property
    def line(self) -> tuple[str, ...]:
        """Outcome and facts."""
        return (*([self.outcome] if self.outcome else []), *self.facts)


def card_text(card: Card, width: int = 0) -> str:
    """Return all facts in one line, broken between facts or words where longer than `width` columns; 0: one line."""
    facts: list[tuple[str, ...]] = [(text,) for text in (*card.line, *([card.moment.text] if card.moment else []))]
    facts += [fact for each in card.details for fact in _detail_facts(each)]
    visible = [tuple(map(_visible, fact)) for fact in facts]
    return "\n".join(_lines(visible, width)) if width else SEPARATOR.join(map(" ".join, visible))


def card_html(card: Card, charts: Sequence[Chart] = ()) -> str:
    """Return the card as HTML: the line is the summary of the details, and the charts are below."""
    *most, last = _facts(card)
    line = _dot(card.outcome) + " ".join(_whole(fact) for fact in (*(f"{fact} ·" for fact in most), last))
    rows = "".join(map(_row, card.details))
    shown = f'<details><summary style="cursor:pointer">{line}</summary>{rows}</details>' if rows else line
    images = "".join(map(_image, charts))
    return f'<div style="{_CARD}">{shown}{f"<div style={_CHARTS!r}>{images}</div>" if images else ""}</div>'


def card_bundle(card: Card, charts: Sequence[Chart] = ()) -> dict[str, str]:
    """Return the mime bundle of a card."""
    return {"text/plain": card_text(card, TEXT_WIDTH), "text/html": card_html(card, charts)}


def note_bundle(text: str) -> dict[str, str]:
    """Return the mime bundle of a note: pages break plain text within words, and HTML between them."""
    lines = "<br>".join(map(_html, text.split("\n")))
    return {"text/plain": text, "text/html": f'<div style="{_NOTE}">{lines}</div>'}


def wrapped(text: str, width: int) -> str:
    """Return a note broken between words where longer than `width` columns; its own lines stay."""
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
        for line in text.split("\n")
    )


def _detail_facts(detail: Detail) -> Iterable[tuple[str, ...]]:
    """Yield the facts of a detail as text; the last one with the command, from which it is broken first."""
    label = "ended " if detail.label == "Ended" else ""
    *most, last = detail.facts
    yield from ((f"{label}{fact}",) for fact in most)
    yield (f"{label}{last}:", detail.command) if detail.command else (f"{label}{last}",)


def _lines(facts: Sequence[tuple[str, ...]], width: int) -> Iterable[str]:
    """Yield lines of whole facts; a fact longer than a line is broken between its pieces, then between words.

    A command ends its line, so that nothing is copied with it.
    """
    line = ""
    for number, pieces in enumerate(facts):
        *most, last = pieces
        ends = number == len(facts) - 1 or len(pieces) > 1
        mark = "" if ends else SEPARATOR.rstrip()
        fits = len(" ".join(pieces)) + len(mark) <= width
        for piece in [" ".join((*most, last + mark))] if fits else [*most, last + mark]:
            if line and len(line) + 1 + len(piece) > width:
                yield line
                line = ""
            *whole, rest = textwrap.wrap(piece, width, break_long_words=False, break_on_hyphens=False) or [""]
            yield from whole
            line = f"{line} {rest}" if line else rest
        if ends:
            yield line
            line = ""


def _visible(text: str) -> str:
    r"""Return a text with characters that move a cursor or turn the text around as numbers: `\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _html(text: str) -> str:
    return escape(_visible(text), quote=True)


def _facts(card: Card) -> Iterable[str]:
    """Yield the facts of the line as HTML."""
    if card.outcome:
        yield f"<b>{_html(card.outcome)}</b>"
    yield from map(_html, card.facts)
    if card.moment is not None:
        yield _moment(card.moment)


def _whole(fact: str) -> str:
    """Return HTML that is broken only where the page is narrower than the fact."""
    return f'<span style="{_FACT}">{fact}</span>'


def _moment(moment: Moment) -> str:
    if not moment.time:
        return _html(moment.text)
    time = f'<time datetime="{_html(moment.iso)}" title="{_html(moment.full)}">{_html(moment.time)}</time>'
    return f"{_html(moment.before)}{time}{_html(moment.after)}"


def _dot(outcome: str) -> str:
    return f'<span style="{_DOT}{DOTS.get(outcome, GREY)}"></span>' if outcome else ""


def _row(detail: Detail) -> str:
    facts = SEPARATOR.join(map(_html, detail.facts))
    command = f": <code>{_html(detail.command)}</code>" if detail.command else ""
    return f'<div style="{_ROW}"><span style="{_LABEL}">{_html(detail.label)}</span>{facts}{command}</div>'


def _image(chart: Chart) -> str:
    source = base64.b64encode(chart.svg.encode()).decode()
    return f'<img style="{_CHART}" alt="{_html(chart.alt)}" src="data:image/svg+xml;base64,{source}">'
