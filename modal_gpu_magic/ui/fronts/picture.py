"""The picture and figures that replace a dashboard in the saved file, for every viewer. Pure functions.

HTML with one `<img>` of an SVG as data: front ends strip inline SVG from untrusted notebooks, and widgets need their
kernel. Grey on transparent, readable on light and dark pages.
"""

from __future__ import annotations

import base64
from html import escape
from statistics import fmean as mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modal_gpu_magic.metrics.history import History, Measure
    from modal_gpu_magic.metrics.sample import GpuSample

POINTS, ALL_POINTS = 100, 800
"""Most points of a line, and of all lines of a panel. Keeps a picture under 60 kB; more points are not visible."""
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
    """Return an SVG of the known measures over the run; None: no GPU was read."""
    lines = _lines(history)
    if not lines:
        return None
    known = [panel for panel in PANELS if history.peak(panel[0]) is not None] or PANELS[:1]
    panels = [_panel(index, panel, lines, history) for index, panel in enumerate(known)]
    width = len(known) * (WIDTH + GAP)
    note = (
        f'<text x="{width - GAP}" y="98" text-anchor="end">simulated: CPU of this machine</text>' if simulated else ""
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="104" viewBox="0 0 {width} 104" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="{INK}">{"".join(panels)}{note}</svg>'
    )


def figures(history: History) -> str:
    """Return the figures as text: `mean 76 %, peak 9.8 GiB, 410 W, 64 °C`."""
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
"""Colour of the dot by outcome, visible on light and dark pages; other outcomes are grey."""


def summary_bundle(
    receipt: str, history: History, *, simulated: bool, heading: tuple[str, str] | None = None
) -> dict[str, str]:
    """Return the mime bundle that replaces a dashboard: outcome, receipt, and the picture below."""
    svg, head = picture(history, simulated=simulated), _head(heading)
    if svg is None:
        html = f'<div style="font-size:small">{head}{escape(receipt)}</div>'
        return {"text/plain": receipt, **({"text/html": html} if head else {})}
    source = base64.b64encode(svg.encode()).decode()
    alt = escape(figures(history), quote=True)
    image = f'<img alt="{alt}" src="data:image/svg+xml;base64,{source}">'
    html = f'<div style="font-size:small">{head}{escape(receipt)}<br>{image}</div>'
    return {"text/plain": receipt, "text/html": html}


def _lines(history: History) -> list[tuple[Sequence[GpuSample], ...]]:
    """Return the samples of each line: one line per GPU, or one per node of a cluster."""
    gpus = [samples for gpu in history.gpus if (samples := history.samples(gpu))]
    nodes = sorted({samples[0].node for samples in gpus})
    if len(nodes) < 2:  # noqa: PLR2004 - one node is no cluster
        return [(samples,) for samples in gpus]
    return [tuple(samples for samples in gpus if samples[0].node == node) for node in nodes]


def _head(heading: tuple[str, str] | None) -> str:
    if heading is None:
        return ""
    outcome, rest = heading
    dot = f'<span style="color:{DOTS.get(outcome, INK)}">●</span>'
    return f"{dot} <b>{escape(outcome)}</b>, {escape(rest)}<br>"


def _panel(index: int, panel: _Scale, lines: Sequence[tuple[Sequence[GpuSample], ...]], history: History) -> str:
    measure, title, scale, unit = panel
    top = _top(measure, history) or 1.0
    first = min(samples[0].time for line in lines for samples in line)
    last = max(samples[-1].time for line in lines for samples in line)
    across = WIDTH / max(last - first, 1.0)

    def at(point: tuple[float, float]) -> str:
        time, value = point
        return f"{(time - first) * across:.0f},{HEIGHT - min(1.0, value / top) * HEIGHT:.1f}"

    each = sum(1 if len(line) == 1 else 3 for line in lines)
    span = max(last - first, 1.0) / min(POINTS, max(2, ALL_POINTS // each))
    drawn = "".join(_line(line, measure, span, at, n) for n, line in enumerate(lines))
    peak = history.peak(measure)
    words = f"{_text(None if peak is None else peak * scale, int(scale != 1))} {unit} peak"
    return (
        f'<g transform="translate({index * (WIDTH + GAP)},0)"><text y="11">{title}</text>'
        f'<text x="{WIDTH}" y="11" text-anchor="end" font-weight="600">{words}</text>'
        f'<g transform="translate(0,18)" fill="none" stroke-width="1.2" fill-opacity=".18"><rect width="{WIDTH}" '
        f'height="{HEIGHT}" rx="3" stroke="{INK}" stroke-width="1" stroke-opacity=".4"/>{drawn}</g></g>'
    )


def _line(
    gpus: Sequence[Sequence[GpuSample]],
    measure: Measure,
    span: float,
    at: Callable[[tuple[float, float]], str],
    number: int,
) -> str:
    """Return the polyline of a measure, one point per `span` seconds: the mean, with a band from minimum to maximum.

    A single GPU's memory is drawn as the maximum, because the peak decides whether a run fails.
    """
    intervals: dict[int, tuple[float, list[float]]] = {}
    for samples in gpus:
        for sample in samples:
            value = getattr(sample, measure)
            if value is not None:
                intervals.setdefault(int(sample.time / span), (sample.time, []))[1].append(value)
    points = [intervals[number] for number in sorted(intervals)]
    one = max if measure == "memory_used_mib" and len(gpus) == 1 else mean
    colour = f"hsl({(205 + 47 * number) % 360} 60% 52%)"
    line = " ".join(at((time, one(values))) for time, values in points)
    band = ""
    if len(gpus) > 1:
        edge = [(time, max(values)) for time, values in points]
        edge += [(time, min(values)) for time, values in reversed(points)]
        band = f'<polygon fill="{colour}" points="{" ".join(map(at, edge))}"/>'
    return f'{band}<polyline stroke="{colour}" points="{line}"/>'


def _top(measure: Measure, history: History) -> float | None:
    """Return the top of a measure's axis: 100, the total memory, or the measure's peak."""
    if measure in ("utilization", "temperature_c"):
        return 100.0
    if measure == "memory_used_mib":
        totals = [sample.memory_total_mib for sample in history.latest if sample.memory_total_mib]
        return max(totals) if totals else history.peak(measure)
    return history.peak(measure)


def _text(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"
