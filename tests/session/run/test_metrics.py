"""`Session.metrics`: what sample events bring, as numbers, a table, a picture; and faults of GPUs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.errors import SetupError
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.session.run.metrics import Metrics
from modal_gpu_magic.wire.messages.events import Event

FAULT = "[gpu-health] [WARN] GPU-a: XID: 13, pid=7\n"


def sample(time: float, *loads: float | None, running: bool = True, node: int = 0, **facts: Any) -> Event:
    """An event with a reading of GPUs `GPU-a`, `GPU-b`, ..."""
    facts = {"name": "NVIDIA L4", "driver": "580.1", "memory_total_mib": 23034, "memory_used_mib": 1024, **facts}
    late = {"late": True} if facts.pop("late", False) else {}
    samples = tuple(
        GpuSample(time, index, f"GPU-{'abcdefgh'[index + 2 * node]}", utilization=load, **facts)
        for index, load in enumerate(loads)
    )
    content = {"time": time, "node": node, "running": running, "rows": Reading(samples).rows, **late}
    return Event(0, "sample", content)


def taken(*events: Event) -> Metrics:
    metrics = Metrics()
    for event in events:
        metrics.take(event)
    return metrics


def test_who_watches_hears_all_also_beside_one_that_fails() -> None:
    metrics, heard = Metrics(), list[Reading | None]()

    def fail(reading: Reading | None) -> None:
        raise LookupError("no parent")

    leave = metrics.watch(fail)
    metrics.watch(heard.append)
    with pytest.warns(RuntimeWarning, match="LookupError.*no parent"):
        reading = metrics.take(sample(1.0, 50.0))
    leave()
    metrics.tell()
    assert heard == [reading, None]


def test_nothing_yet() -> None:
    metrics = Metrics()
    assert repr(metrics) == "<metrics: no GPU has been read yet>"
    assert metrics.to_dataframe().empty
    assert metrics.since(0) == ()
    with pytest.raises(SetupError, match="no data to draw"):
        metrics.plot()


def test_the_run_s_own_time_is_kept_apart() -> None:
    metrics = taken(
        sample(1, 5, running=False),
        sample(2, 10),
        sample(3, 30),
        sample(4, 90, running=False),
        sample(5, 90, late=True),
    )
    assert (metrics.run.peak("utilization"), metrics.run.mean("utilization")) == (30, 20)
    assert (metrics.peak("utilization"), len(metrics.samples("GPU-a"))) == (90, 5)
    metrics.begin()
    assert metrics.run.gpus == ()
    assert len(metrics.samples("GPU-a")) == 5


def test_what_came_since_a_container_started() -> None:
    metrics = taken(sample(1, 5, 5), sample(9, 7))
    assert [each.gpu for each in metrics.since(0)] == ["GPU-a", "GPU-b"]
    assert [each.gpu for each in metrics.since(9)] == ["GPU-a"]


def test_all_nodes() -> None:
    metrics = taken(sample(1, 5, 6), sample(1.1, 7, node=1))
    assert metrics.gpus == ("GPU-a", "GPU-b", "GPU-c")
    assert [each.node for each in metrics.latest] == [0, 0, 1]


def test_as_a_table() -> None:
    frame = taken(sample(100, 5, None), sample(101, 50, 60, driver="simulated")).to_dataframe()
    assert list(frame["gpu"]) == ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]
    assert [value if not math.isnan(value) else None for value in frame["utilization"]] == [5, None, 50, 60]
    assert frame["time"].iloc[2].isoformat() == "1970-01-01T00:01:41+00:00"
    assert list(frame["simulated"]) == [False, False, True, True]
    assert {"node", "power_w", "memory_used_mib", "name"} <= set(frame.columns)


def test_as_a_picture() -> None:
    from matplotlib import pyplot as plt

    metrics = taken(sample(10, 5, 6), sample(12, None, 8))
    shown = metrics.plot()
    assert [axis.get_ylabel() for axis in shown] == ["utilization, %", "memory, GiB"], "power was never known"
    first, second = shown[0].get_lines()
    assert list(first.get_xdata()) == [0, 2]
    assert [first.get_ydata()[0], math.isnan(first.get_ydata()[1])] == [5, True]
    assert second.get_label() == "NVIDIA L4 1"
    assert shown[0].get_title() == ""
    (only,) = taken(sample(1, 5, driver="simulated")).plot("memory_used_mib")
    assert "simulated" in only.get_title()
    plt.close("all")


def test_a_picture_goes_forward_whatever_the_order_of_arrival() -> None:
    from matplotlib import pyplot as plt

    (axis,) = taken(sample(12, 5), sample(10, 7), sample(11, 6)).plot("memory_used_mib")
    for line in axis.get_lines():
        assert list(line.get_xdata()) == [0, 1, 2]
        assert list(line.get_ydata()) == [1, 1, 1], "GiB"
    plt.close("all")


@pytest.mark.parametrize(
    "events, text",
    [
        ([sample(1, 50, 30)], "<metrics of 2 GPUs: 2 samples, peak 1.0 GiB, mean 40 %>"),
        ([sample(1, None, memory_used_mib=None)], "<metrics of 1 GPU: 1 sample>"),
        ([sample(1, 5, driver="simulated")], "<metrics of 1 simulated GPU: 1 sample, peak 1.0 GiB, mean 5 %>"),
    ],
)
def test_what_it_says_of_itself(events: list[Event], text: str) -> None:
    assert repr(taken(*events)) == text


def test_a_fault_is_kept_once() -> None:
    metrics = taken(sample(1, 5))
    (fault,) = metrics.faults(f"before\n{FAULT}{FAULT}after")
    assert (fault.xid, fault.critical) == (13, False)
    assert metrics.faults(FAULT) == ()
    assert metrics.health == (fault,)
    assert repr(metrics).endswith("mean 5 %, 1 fault>")


def test_without_pandas_or_matplotlib_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    metrics = taken(sample(1, 5))
    for module in ("pandas", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match=r"%pip install pandas"):
        metrics.to_dataframe()
    with pytest.raises(SetupError, match=r"%pip install matplotlib"):
        metrics.plot()
