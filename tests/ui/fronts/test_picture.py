"""What stays of a dashboard: a picture and numbers, small, honest, and safe in HTML."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import pytest

from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.fronts.picture import figures, picture, summary_bundle

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


def test_it_is_an_image_with_the_numbers_as_its_text() -> None:
    bundle = summary_bundle("H100 <done>", _history(), simulated=False)
    assert bundle["text/plain"] == "H100 <done>"
    assert "H100 &lt;done&gt;" in bundle["text/html"]
    assert 'alt="mean 4 %, peak 10.0 GiB, 300 W, 60 °C"' in bundle["text/html"]
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', bundle["text/html"])
    assert source
    svg = ET.fromstring(base64.b64decode(source[1]))
    assert len(list(svg.iter(f"{SVG}polyline"))) == 4
    assert "<svg" not in bundle["text/html"]


def test_without_a_reading_there_is_no_picture() -> None:
    assert summary_bundle("CPU", History(), simulated=False) == {"text/plain": "CPU"}


def test_how_it_ended_stands_above_with_and_without_a_picture() -> None:
    for history in (_history(), History()):
        html = summary_bundle("H100", history, simulated=False, heading=("failed", "idle <14:05>"))["text/html"]
        assert "<b>failed</b>, idle &lt;14:05&gt;<br>H100" in html


def test_unknown_is_a_dash_and_has_no_chart() -> None:
    history = _history(power=None)
    assert figures(history) == "mean 4 %, peak 10.0 GiB, – W, 60 °C"
    assert "Power" not in (picture(history, simulated=False) or "")


def test_simulated_is_said_in_the_picture() -> None:
    assert "simulated" in (picture(_history(), simulated=True) or "")
    assert "simulated" not in (picture(_history(), simulated=False) or "")


@pytest.mark.parametrize("gpus", [1, 8, 32])
@pytest.mark.parametrize("readings", [199, 3000])
def test_it_stays_small_however_long_the_run(gpus: int, readings: int) -> None:
    bundle = summary_bundle("H100", _history(gpus, readings), simulated=True)
    assert len(bundle["text/html"]) < 60_000


def test_a_peak_of_memory_is_not_thinned_away() -> None:
    def drawn(readings: int) -> float:
        svg = ET.fromstring(picture(_history(1, readings), simulated=False) or "")
        memory = list(svg.iter(f"{SVG}polyline"))[1].attrib["points"]
        return min(float(point.partition(",")[2]) for point in memory.split())

    assert drawn(1000) == pytest.approx(60 - 60 * (10240 + 999) / 81559, abs=0.1)


def test_a_cluster_is_drawn_by_node_with_the_band_of_its_gpus() -> None:
    history = History()
    for at in range(10):
        for node in range(2):
            samples = [
                GpuSample(time=at, index=index, node=node, utilization=50.0 * index + node) for index in range(2)
            ]
            history.add(Reading(tuple(samples)))
    svg = ET.fromstring(picture(history, simulated=False) or "")
    lines, bands = list(svg.iter(f"{SVG}polyline")), list(svg.iter(f"{SVG}polygon"))
    assert [line.attrib["points"].split()[0] for line in lines] == ["0,45.0", "0,44.4"]
    assert [band.attrib["points"].split()[0] for band in bands] == ["0,30.0", "0,29.4"]
    assert [band.attrib["points"].split()[-1] for band in bands] == ["0,60.0", "0,59.4"]
