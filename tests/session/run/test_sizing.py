"""What readings say of a machine: what arrived, what is billed for it, and what would have done."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic import Session
from modal_gpu_magic.session.run.sizing import Sizing, sizing
from modal_gpu_magic.wire.messages.events import Answer
from tests.session.run.test_metrics import sample

H100: dict[str, Any] = dict(name="NVIDIA H100 80GB HBM3", memory_total_mib=81559, memory_used_mib=10035)
H200: dict[str, Any] = dict(name="NVIDIA H200", memory_total_mib=143771, memory_used_mib=10035)
A100: dict[str, Any] = dict(name="NVIDIA A100-SXM4-80GB", memory_total_mib=81920, memory_used_mib=10035)


def sized(specs: str, *readings: dict[str, Any], count: int = 1, booted: float = 0.0) -> Sizing:
    """At the end of a run in the cloud, with a reading a second of that many GPUs."""
    session = Session(specs or None, backend="cloud")
    for second, facts in enumerate(readings):
        session.metrics.take(sample(second, *[50.0] * count, **facts))
    return sizing(session.machine, session.metrics, "cloud", Answer("g", "v", booted_at=booted))


@pytest.mark.parametrize(
    "specs, facts, count, got, billed, advice",
    [
        ("H100", H100, 1, "H100", "H100", "an L4 would fit: saves $3.15/h"),
        ("H100:2", H200, 2, "H200:2", "H100:2", "L4:2 would fit: saves $6.30/h"),
        ("H100 H200", H200, 1, "H200", "H200", "an L4 would fit: saves $3.74/h"),
        ("H100 A100-80GB:2", A100, 2, "A100-80GB:2", "A100-80GB:2", "L4:2 would fit: saves $3.40/h"),
        ("H100", dict(H100, memory_used_mib=None), 1, "H100", "H100", None),
        ("H100", dict(H100, name=None), 1, "None", "H100", None),
        ("H100 L4", dict(H100, name=None), 1, "None", "None", None),
    ],
)
def test_what_arrived_is_billed_by_what_it_was_asked_as(
    specs: str, facts: dict[str, Any], count: int, got: str, billed: str, advice: str | None
) -> None:
    found = sized(specs, facts, count=count)
    assert (str(found.got), str(found.billed)) == (got, billed)
    assert (None if found.advice is None else str(found.advice)) == advice


def test_nothing_was_read_yet() -> None:
    one, several, none = sized("H100"), sized("H100 L4"), sized("")
    assert (one.got, one.peak_mib, one.advice) == (None, None, None)
    assert one.hourly == pytest.approx(3.95, abs=0.01)
    assert several.hourly is None, "either may have arrived"
    assert none.hourly == pytest.approx(0.006, abs=0.001), "a container without GPUs"


def test_the_peak_is_that_of_the_container_s_life_and_of_no_earlier_one() -> None:
    """A session may need more in one cell than in the next; what an older container held was another's."""
    found = sized("H100", dict(H100, memory_used_mib=70_000), H100)
    assert found.peak_mib == 70_000
    assert str(found.advice) == "an A100-80GB would fit: saves $1.45/h"
    assert sized("H100", H200, booted=50).got is None


def test_a_container_that_died_is_known_by_its_last_run() -> None:
    session = Session("H100", backend="cloud")
    session.metrics.take(sample(1, 50, **H100))
    found = sizing(session.machine, session.metrics, "cloud", None)
    assert (str(found.got), found.peak_mib, found.simulated) == ("H100", 10035, False)


def test_simulated_gpus_lead_to_no_advice() -> None:
    session = Session("H100 L4", backend="local")
    session.metrics.take(sample(1, 50, driver="simulated", **H100))
    for answer in (None, Answer("g", "v", simulated=True)):
        found = sizing(session.machine, session.metrics, "local", answer)
        assert (found.got, found.advice, found.simulated, str(found.billed)) == (None, None, True, "H100")
