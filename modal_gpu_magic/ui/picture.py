"""What stays of a dashboard in the file: a picture and numbers that every viewer shows. Pure.

HTML with one `<img>` of an SVG as data: inline SVG is stripped from notebooks nobody trusts, a widget is gone when its
kernel is. Grey on transparent, so that it is readable on light and dark pages.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modal_gpu_magic.metrics.history import History, Measure
    from modal_gpu_magic.metrics.sample import GpuSample

POINTS, ALL_POINTS = 120, 960
"""Points of a line at most, more would not be seen; and of a panel's lines together: a picture stays under 60 kB."""
WIDTH, HEIGHT, GAP = 206, 60, 14
INK = "#808080"
UNKNOWN = "–"

_Scale = tuple["Measure", str, float, str]
PANELS: tuple[_Scale, ...] = (
    ("utilization", "Utilisation", 1, "%"),
    ("memory_used_mib", "Memory", 1 / 1024, "GiB"),
    ("power_w", "Power", 1, "W"),
    ("temperature_c", "Temperature", 1, "°C"),
)


def picture(history: History, *, simulated: bool) -> str | None:
    """An SVG of the measures over the run, less those that no GPU told; None: no GPU was read."""
    lines = [history.samples(gpu) for gpu in history.gpus]
    if not any(lines):
        return None
    first = min(samples[0].time for samples in lines if samples)
    last = max(samples[-1].time for samples in lines if samples)
    known = [panel for panel in PANELS if history.peak(panel[0]) is not None] or PANELS[:1]
    panels = [_panel(place, panel, lines, history, first, last) for place, panel in enumerate(known)]
    width = len(known) * (WIDTH + GAP)
    note = (
        f'<text x="{width - GAP}" y="98" text-anchor="end">simulated: this machine, not a GPU</text>'
        if simulated
        else ""
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="104" viewBox="0 0 {width} 104" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="{INK}">{"".join(panels)}{note}</svg>'
    )


def figures(history: History) -> str:
    """The same as words: `mean 76 %, peak 9.8 GiB, 410 W, 64 °C`."""
    mean, peak = history.mean("utilization"), history.peak
    memory = peak("memory_used_mib")
    return ", ".join(
        (
            f"mean {_text(mean)} %",
            f"peak {_text(None if memory is None else memory / 1024, 1)} GiB",
            f"{_text(peak('power_w'))} W",
            f"{_text(peak('temperature_c'))} °C",
        )
    )


DOTS = {"done": "#2e9e4f", "failed": "#d9534f", "lost": "#d9534f", "timed out": "#d9534f"}
"""How a run ended -> the colour of its dot, seen on light and dark pages alike; others are grey."""


def keepsake(
    receipt: str, history: History, *, simulated: bool, heading: tuple[str, str] | None = None
) -> dict[str, str]:
    """The mime bundle that takes a dashboard's place: how the run ended, the receipt, and the picture below it."""
    svg, head = picture(history, simulated=simulated), _head(heading)
    if svg is None:
        html = f'<div style="font-size:small">{head}{escape(receipt)}</div>'
        return {"text/plain": receipt, **({"text/html": html} if head else {})}
    source = base64.b64encode(svg.encode()).decode()
    alt = escape(figures(history), quote=True)
    image = f'<img alt="{alt}" src="data:image/svg+xml;base64,{source}">'
    html = f'<div style="font-size:small">{head}{escape(receipt)}<br>{image}</div>'
    return {"text/plain": receipt, "text/html": html}


def _head(heading: tuple[str, str] | None) -> str:
    if heading is None:
        return ""
    outcome, rest = heading
    dot = f'<span style="color:{DOTS.get(outcome, INK)}">●</span>'
    return f"{dot} <b>{escape(outcome)}</b>, {escape(rest)}<br>"


def _panel(
    place: int, panel: _Scale, lines: Sequence[Sequence[GpuSample]], history: History, first: float, last: float
) -> str:
    measure, title, scale, unit = panel
    top = _top(measure, history) or 1.0
    across = WIDTH / max(last - first, 1.0)

    def at(sample: GpuSample) -> str | None:
        value = getattr(sample, measure)
        if value is None:
            return None
        return f"{(sample.time - first) * across:.0f},{HEIGHT - min(1.0, value / top) * HEIGHT:.1f}"

    points = min(POINTS, ALL_POINTS // len(lines))
    drawn = "".join(_polyline(samples[:: max(1, len(samples) // points)], at, n) for n, samples in enumerate(lines))
    peak = history.peak(measure)
    words = f"{_text(None if peak is None else peak * scale, int(scale != 1))} {unit} peak"
    return (
        f'<g transform="translate({place * (WIDTH + GAP)},0)"><text y="11">{title}</text>'
        f'<text x="{WIDTH}" y="11" text-anchor="end" font-weight="600">{words}</text>'
        f'<g transform="translate(0,18)"><rect width="{WIDTH}" height="{HEIGHT}" rx="3" fill="none" stroke="{INK}" '
        f'stroke-opacity=".4"/>{drawn}</g></g>'
    )


def _polyline(samples: Sequence[GpuSample], at: Callable[[GpuSample], str | None], number: int) -> str:
    points = [point for sample in samples if (point := at(sample)) is not None]
    hue = (205 + 47 * number) % 360
    return f'<polyline fill="none" stroke="hsl({hue} 60% 52%)" stroke-width="1.2" points="{" ".join(points)}"/>'


def _top(measure: Measure, history: History) -> float | None:
    """The top of a measure's axis: 100 where that is the most there can be, all the memory, else its own peak."""
    if measure in ("utilization", "temperature_c"):
        return 100.0
    if measure == "memory_used_mib":
        totals = [sample.memory_total_mib for sample in history.latest if sample.memory_total_mib]
        return max(totals) if totals else history.peak(measure)
    return history.peak(measure)


def _text(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"
