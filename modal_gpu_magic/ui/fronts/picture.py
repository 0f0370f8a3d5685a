"""The charts of a receipt: one SVG for each measure of the GPUs that was known over the run. Pure functions.

A page shows each SVG as an `<img>`: front ends strip inline SVG from untrusted notebooks, and images wrap on narrow
pages. Grey on transparent, readable on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from statistics import fmean as mean
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.metrics.history import Measure
from modal_gpu_magic.metrics.memory_text import memory_text
from modal_gpu_magic.ui.fronts.durations import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modal_gpu_magic.metrics.history import History
    from modal_gpu_magic.metrics.sample import GpuSample

MIN_SAMPLES: Final = 3
"""Fewest known values of a GPU that make a chart."""
POINTS: Final = 100
ALL_POINTS: Final = 600
"""Most points of a line, and of all lines of a chart. Keep the charts under 45 kB; more points are not visible."""
WIDTH: Final = 206
HEIGHT: Final = 60
"""Size of a chart's frame."""
INSET: Final = 1
"""Distance of the lines from the frame."""
INK: Final = "#808080"


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart of a measure.

    Attributes:
        svg: the picture.
        alt: the same figures in words.
    """

    svg: str
    alt: str


@dataclass(frozen=True, slots=True)
class _Panel:
    """How a measure is drawn. `top`: least value at the top of the axis; 0: the axis ends at the peak."""

    measure: Measure
    title: str
    text: Callable[[float], str]
    top: float = 0.0
    has_mean: bool = False


_PANELS: Final = (
    _Panel("utilization", "Utilisation", "{:.0f} %".format, top=100.0, has_mean=True),
    _Panel("memory_used_mib", "Memory", memory_text),
    _Panel("power_w", "Power", "{:,.0f} W".format, has_mean=True),
    _Panel("temperature_c", "Temperature", "{:.0f} °C".format, top=100.0),
)


def charts(history: History) -> tuple[Chart, ...]:
    """Return a chart of each measure with enough known values; empty: the run was short, or no GPU was read."""
    return tuple(_chart(panel, history) for panel in _PANELS if _is_drawn(panel.measure, history))


def _is_drawn(measure: Measure, history: History) -> bool:
    """Whether any GPU has enough known values of a measure."""
    known = (sum(getattr(each, measure) is not None for each in history.samples(gpu)) for gpu in history.gpus)
    return max(known, default=0) >= MIN_SAMPLES


def _chart(panel: _Panel, history: History) -> Chart:
    peak, average = history.peak(panel.measure) or 0.0, history.mean(panel.measure) or 0.0
    lines = _lines(history)
    span = duration(_seconds(lines))
    figures = [f"mean {panel.text(average)}"] if panel.has_mean else []
    figures.append(f"peak {panel.text(peak)}")
    drawn = "".join(_drawn(panel.measure, lines, max(peak, panel.top) or 1.0))
    height = HEIGHT + 34
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="{INK}"><text y="11">{panel.title}</text>'
        f'<text x="{WIDTH}" y="11" text-anchor="end" font-weight="600">{escape(panel.text(peak))} peak</text>'
        f'<g transform="translate(0,18)" fill="none" stroke-width="1.2" fill-opacity=".18"><rect x=".5" y=".5" '
        f'width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="3" stroke="{INK}" stroke-width="1" stroke-opacity=".4"/>'
        f'{drawn}</g><g font-size="10"><text y="{HEIGHT + 30}">0 s</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 30}" text-anchor="end">{span}</text></g></svg>'
    )
    return Chart(svg, f"{panel.title} over {span}: {', '.join(figures)}")


def _lines(history: History) -> list[tuple[Sequence[GpuSample], ...]]:
    """Return the samples of each line: one line per GPU, or one per node of a cluster."""
    gpus = [samples for gpu in history.gpus if (samples := history.samples(gpu))]
    nodes = sorted({samples[0].node for samples in gpus})
    if len(nodes) < 2:  # noqa: PLR2004 - one node is no cluster
        return [(samples,) for samples in gpus]
    return [tuple(samples for samples in gpus if samples[0].node == node) for node in nodes]


def _ends(lines: Sequence[tuple[Sequence[GpuSample], ...]]) -> tuple[float, float]:
    """Return the times of the first and the last sample."""
    each = [samples for line in lines for samples in line]
    return min(samples[0].time for samples in each), max(samples[-1].time for samples in each)


def _seconds(lines: Sequence[tuple[Sequence[GpuSample], ...]]) -> float:
    first, last = _ends(lines)
    return last - first


def _drawn(measure: Measure, lines: Sequence[tuple[Sequence[GpuSample], ...]], top: float) -> Iterator[str]:
    first, last = _ends(lines)
    seconds = max(last - first, 1.0)

    def at(point: tuple[float, float]) -> str:
        time, value = point
        across, up = ((time - first) / seconds, value / top)
        return f"{_within(across, WIDTH):.1f},{HEIGHT - _within(up, HEIGHT):.1f}"

    each = sum(1 if len(line) == 1 else 3 for line in lines)
    step = seconds / min(POINTS, max(2, ALL_POINTS // each))
    for number, line in enumerate(lines):
        yield _line(line, measure, first, step, at, number)


def _within(share: float, size: float) -> float:
    """Return a share of the frame as a length, inside the frame."""
    return INSET + min(1.0, max(0.0, share)) * (size - 2 * INSET)


def _line(
    gpus: Sequence[Sequence[GpuSample]],
    measure: Measure,
    first: float,
    step: float,
    at: Callable[[tuple[float, float]], str],
    number: int,
) -> str:
    """Return the polyline of a measure, one point per `step` seconds: the mean, with a band from minimum to maximum.

    A single GPU's memory is drawn as the maximum, because the peak decides whether a run fails.
    """
    intervals: dict[int, tuple[float, list[float]]] = {}
    for samples in gpus:
        for sample in samples:
            value = getattr(sample, measure)
            if value is not None:
                intervals.setdefault(int((sample.time - first) / step), (sample.time, []))[1].append(value)
    points = [intervals[each] for each in sorted(intervals)]
    one = max if measure == "memory_used_mib" and len(gpus) == 1 else mean
    colour = f"hsl({(205 + 47 * number) % 360} 60% 52%)"
    line = " ".join(at((time, one(values))) for time, values in points)
    band = ""
    if len(gpus) > 1:
        edge = [(time, max(values)) for time, values in points]
        edge += [(time, min(values)) for time, values in reversed(points)]
        band = f'<polygon fill="{colour}" points="{" ".join(map(at, edge))}"/>'
    return f'{band}<polyline stroke="{colour}" points="{line}"/>'
