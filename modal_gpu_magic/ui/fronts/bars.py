"""Bar charts of sums as SVG images, in the style of a receipt's charts. Pure functions."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.plan.machine.quote import dollars
from modal_gpu_magic.ui.fronts.picture import HEIGHT, INK, INSET, WIDTH, Chart

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ROWS: Final = 4
"""Bars of a chart with names; the rest are one bar."""
LETTERS: Final = 22
"""Longest name beside a bar."""
HUE: Final = 205
Bar = tuple[str, "float | None"]
"""A name and an amount, USD; None: not known."""


def columns(title: str, bars: Sequence[Bar]) -> Chart:
    """Return a chart with one upright bar for each day; the first and the last name stand below."""
    most = max((amount or 0.0 for _, amount in bars), default=0.0)
    step = (WIDTH - 2 * INSET) / max(len(bars), 1)
    drawn = "".join(
        f'<rect x="{INSET + number * step + step * 0.1:.1f}" y="{HEIGHT - INSET - height:.1f}" '
        f'width="{step * 0.8:.1f}" height="{height:.1f}" fill="hsl({HUE} 60% 52%)"/>'
        for number, (_, amount) in enumerate(bars)
        for height in [_part(amount or 0.0, most) * (HEIGHT - 2 * INSET)]
    )
    frame = (
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="3" fill="none" stroke="{INK}" '
        'stroke-opacity=".4"/>'
    )
    first, last = (bars[0][0], bars[-1][0]) if len(bars) > 1 else ("", bars[0][0] if bars else "")
    ends = (
        f'<g font-size="10"><text y="{HEIGHT + 30}">{escape(first)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 30}" text-anchor="end">{escape(last)}</text></g>'
    )
    return _chart(title, bars, f'<g transform="translate(0,18)">{frame}{drawn}</g>{ends}')


def rows(title: str, bars: Sequence[Bar]) -> Chart:
    """Return a chart with one bar for each name, the first names alone and the others together."""
    shown = list(bars[:MOST_ROWS]) if len(bars) <= MOST_ROWS else list(bars[: MOST_ROWS - 1])
    if rest := bars[len(shown) :]:
        shown.append((f"{len(rest)} more", sum(amount or 0.0 for _, amount in rest)))
    most = max((amount or 0.0 for _, amount in shown), default=0.0)
    pitch = (HEIGHT + 16) / MOST_ROWS
    drawn = "".join(
        f'<g transform="translate(0,{18 + number * pitch:.1f})"><rect y="10" height="4" rx="1" '
        f'width="{0 if amount is None else max(1.0, _part(amount, most) * WIDTH):.1f}" fill="hsl({HUE} 60% 52%)"/>'
        f'<text y="8" font-size="10">{escape(_short(name))}</text>'
        f'<text x="{WIDTH}" y="8" font-size="10" text-anchor="end">{escape(dollars(amount))}</text></g>'
        for number, (name, amount) in enumerate(shown)
    )
    return _chart(title, bars, drawn)


def _chart(title: str, bars: Sequence[Bar], drawn: str) -> Chart:
    height = HEIGHT + 34
    known = [amount for _, amount in bars if amount is not None]
    total = escape(dollars(sum(known) if known or not bars else None))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="{INK}"><text y="11">{escape(title)}</text>'
        f'<text x="{WIDTH}" y="11" text-anchor="end" font-weight="600">{total}</text>{drawn}</svg>'
    )
    return Chart(svg, f"{title}: {', '.join(f'{name} {dollars(amount)}' for name, amount in bars) or 'nothing'}")


def _part(amount: float, most: float) -> float:
    return max(0.0, amount) / most if most > 0 else 0.0


def _short(name: str) -> str:
    """Return a name without characters that no text of an image may have, and not too long for its place."""
    text = "".join(each if each.isprintable() else "?" for each in name)
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
