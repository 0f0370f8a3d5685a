"""What stays of a dashboard: a picture and numbers, small, honest, and safe in HTML."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import pytest

from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.picture import figures, keepsake, picture


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
    bundle = keepsake("H100 <done>", _history(), simulated=False)
    assert bundle["text/plain"] == "H100 <done>"
    assert "H100 &lt;done&gt;" in bundle["text/html"]
    assert 'alt="mean 4 %, peak 10.0 GiB, 300 W, 60 °C"' in bundle["text/html"]
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', bundle["text/html"])
    assert source
    svg = ET.fromstring(base64.b64decode(source[1]))
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}polyline"))) == 4
    assert "<svg" not in bundle["text/html"]


def test_without_a_reading_there_is_no_picture() -> None:
    assert keepsake("CPU", History(), simulated=False) == {"text/plain": "CPU"}


def test_how_it_ended_stands_above_with_and_without_a_picture() -> None:
    for history in (_history(), History()):
        html = keepsake("H100", history, simulated=False, heading=("failed", "idle <14:05>"))["text/html"]
        assert "<b>failed</b>, idle &lt;14:05&gt;<br>H100" in html


def test_unknown_is_a_dash_and_has_no_chart() -> None:
    history = _history(power=None)
    assert figures(history) == "mean 4 %, peak 10.0 GiB, – W, 60 °C"
    assert "Power" not in (picture(history, simulated=False) or "")


def test_simulated_is_said_in_the_picture() -> None:
    assert "simulated" in (picture(_history(), simulated=True) or "")
    assert "simulated" not in (picture(_history(), simulated=False) or "")


@pytest.mark.parametrize("gpus", [1, 8, 32])
def test_it_stays_small_however_long_the_run(gpus: int) -> None:
    bundle = keepsake("H100", _history(gpus, 3000), simulated=True)
    assert len(bundle["text/html"]) < 60_000
