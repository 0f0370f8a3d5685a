"""The charts of a receipt: small, honest, within their frames, safe in HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.fronts.picture import HEIGHT, WIDTH, Chart, charts

SVG = "{http://www.w3.org/2000/svg}"


def _history(gpus: int = 1, readings: int = 10, *, power: float | None = 300.0) -> History:
    history = History()
    for at in range(readings):
        history.add(
            Reading(
                tuple(
                    GpuSample(
                        time=100.0 + at,
                        index=index,
                        utilization=float(at % 101),
                        memory_used_mib=10240.0 + at,
                        memory_total_mib=81559.0,
                        power_w=power,
                        temperature_c=60.0,
                    )
                    for index in range(gpus)
                )
            )
        )
    return history


def _of(times: Sequence[float], **values: Sequence[float | None]) -> History:
    """A history of one GPU with these values, arriving in this order."""
    history = History()
    for number, time in enumerate(times):
        found = {name: each[number] for name, each in values.items()}
        history.add(Reading((GpuSample(time, 0, **found),)))  # type: ignore[arg-type]  # numbers, by their names
    return history


def _points(chart: Chart, kind: str = "polyline") -> Iterator[list[tuple[float, float]]]:
    for line in ET.fromstring(chart.svg).iter(f"{SVG}{kind}"):
        yield [(float(x), float(y)) for x, _, y in (point.partition(",") for point in line.attrib["points"].split())]


def test_a_chart_a_measure_with_its_numbers_as_text() -> None:
    assert [chart.alt for chart in charts(_history())] == [
        "Utilisation over 9.0 s: mean 4 %, peak 9 %",
        "Memory over 9.0 s: peak 10 GiB",
        "Power over 9.0 s: mean 300 W, peak 300 W",
        "Temperature over 9.0 s: peak 60 °C",
    ]
    for chart in charts(_history()):
        assert len(list(_points(chart))) == 1


def test_what_is_unknown_has_no_chart() -> None:
    assert [chart.alt.partition(" ")[0] for chart in charts(_history(power=None))] == [
        "Utilisation",
        "Memory",
        "Temperature",
    ]
    assert charts(History()) == ()


@pytest.mark.parametrize(
    "loads, drawn",
    [
        ([], False),
        ([5], False),
        ([5, 6], False),
        ([5, 6, 7], True),
        ([5, None, 6], False),
        ([None, None, None], False),
        ([5, None, 6, 7], True),
    ],
)
def test_a_chart_needs_three_samples(loads: list[float | None], drawn: bool) -> None:
    assert bool(charts(_of(range(len(loads)), utilization=loads))) is drawn


def test_eight_gpus_with_two_samples_each_are_no_chart() -> None:
    assert charts(_history(gpus=8, readings=2)) == ()


@pytest.mark.parametrize("peak", [3.0, 300.0, 80_000.0])
def test_memory_is_scaled_to_its_peak(peak: float) -> None:
    history = _of(range(4), memory_used_mib=[0, peak / 2, peak, peak / 4], memory_total_mib=[81559.0] * 4)
    ((_, half, top, _),) = _points(charts(history)[0])
    assert top[1] == pytest.approx(1)
    assert half[1] == pytest.approx(HEIGHT / 2, abs=0.1)


def test_no_amount_of_memory_is_0_0() -> None:
    (chart,) = charts(_of(range(3), memory_used_mib=[3.0, 4.0, 30.0]))
    assert "30 MiB peak" in chart.svg
    assert "0.0" not in chart.alt


finite = st.one_of(st.none(), st.floats(0, 1e6))


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), finite, finite, finite), min_size=3, max_size=30))
def test_no_point_is_outside_its_frame_and_time_goes_forward(rows: list[tuple[float, float, float, float]]) -> None:
    times, loads, used, heat = zip(*rows, strict=True)
    for chart in charts(_of(times, utilization=loads, memory_used_mib=used, temperature_c=heat)):
        for line in _points(chart):
            assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line)
            assert [x for x, _ in line] == sorted(x for x, _ in line)


@pytest.mark.parametrize("gpus", [1, 8, 32])
@pytest.mark.parametrize("readings", [199, 3000])
def test_they_stay_small_however_long_the_run(gpus: int, readings: int) -> None:
    assert sum(len(chart.svg) for chart in charts(_history(gpus, readings))) < 45_000


def test_a_peak_of_memory_is_not_thinned_away() -> None:
    used = [100.0] * 1000
    used[503] = 4000.0
    ((*points,),) = _points(charts(_of(range(1000), memory_used_mib=used))[0])
    assert min(y for _, y in points) == pytest.approx(1)


def test_a_cluster_is_drawn_by_node_with_the_band_of_its_gpus() -> None:
    history = History()
    for at in range(10):
        for node in range(2):
            samples = [
                GpuSample(time=at, index=index, node=node, utilization=50.0 * index + node) for index in range(2)
            ]
            history.add(Reading(tuple(samples)))
    (chart,) = charts(history)
    lines, bands = list(_points(chart)), list(_points(chart, "polygon"))
    assert [len(line) for line in lines] == [10, 10]
    assert len(bands) == 2
    for line, band in zip(lines, bands, strict=True):
        assert min(y for _, y in band) < line[0][1] < max(y for _, y in band)
