"""Readings over time: a bounded ring, and peaks and means over all there ever was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.metrics.history import MEASURES, History, Use
from modal_gpu_magic.metrics.sample import GpuSample, Reading


def history(*ticks: dict[str, float | None], capacity: int = 3600) -> History:
    """A history of one tick a second, each a utilization for each GPU."""
    kept = History(capacity)
    for time, tick in enumerate(ticks):
        kept.add(Reading(tuple(GpuSample(time, uuid=f"GPU-{gpu}", utilization=load) for gpu, load in tick.items())))
    return kept


def test_an_empty_history() -> None:
    kept = History()
    assert (kept.gpus, kept.latest, kept.samples("GPU-a"), kept.idle_seconds("GPU-a")) == ((), (), (), 0)
    assert kept.peak("power_w") is None
    assert kept.mean("power_w") is None


def test_of_each_gpu_and_of_all() -> None:
    kept = history({"a": 10, "b": 50}, {"a": 20, "b": 60}, {"a": 30})
    assert kept.gpus == ("GPU-a", "GPU-b")
    assert [sample.utilization for sample in kept.latest] == [30, 60]
    assert [sample.time for sample in kept.samples("GPU-b")] == [0, 1]
    assert (kept.peak("utilization", "GPU-a"), kept.mean("utilization", "GPU-a")) == (30, 20)
    assert (kept.peak("utilization"), kept.mean("utilization")) == (60, 34)
    assert kept.peak("utilization", "GPU-c") is None


def test_what_is_unknown_does_not_count() -> None:
    kept = history({"a": None}, {"a": 40}, {"a": None}, {"a": 20})
    assert (kept.peak("utilization"), kept.mean("utilization")) == (40, 30)
    assert kept.peak("temperature_c") is None


def test_zero_is_a_value() -> None:
    kept = history({"a": 0}, {"a": 0})
    assert (kept.peak("utilization"), kept.mean("utilization")) == (0, 0)


def test_old_samples_go_and_their_peak_stays() -> None:
    kept = history({"a": 90}, {"a": 10}, {"a": 20}, capacity=2)
    assert [sample.utilization for sample in kept.samples("GPU-a")] == [10, 20]
    assert (kept.peak("utilization"), kept.mean("utilization")) == (90, 40)


@pytest.mark.parametrize(
    "loads, seconds",
    [
        ([0], 0),
        ([5, 0, 0, 0], 2),
        ([0, 0, 0], 2),
        ([0, 0, 5], 0),
        ([0, None, 0, 0], 1),
        ([0, None], 0),
        ([0, 0, 1, 0], 0),
    ],
)
def test_idle(loads: list[float | None], seconds: float) -> None:
    assert history(*({"a": load} for load in loads)).idle_seconds("GPU-a") == seconds


def test_a_gpu_without_a_uuid_is_told_by_its_index() -> None:
    kept = History()
    kept.add(Reading((GpuSample(index=3, power_w=1.0), GpuSample(index=4, power_w=2.0))))
    assert kept.gpus == ("3", "4")


def test_every_measure_is_an_attribute_of_a_sample() -> None:
    assert set(MEASURES) <= set(GpuSample.__slots__)


def test_a_history_keeps_something() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1 sample for each GPU, not 0"):
        History(0)


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=30), st.integers(1, 5))
def test_peak_and_mean_are_those_of_all_values(loads: list[float | None], capacity: int) -> None:
    kept = history(*({"a": load} for load in loads), capacity=capacity)
    known = [load for load in loads if load is not None]
    assert kept.peak("utilization") == (max(known) if known else None)
    assert kept.mean("utilization") == (pytest.approx(sum(known) / len(known)) if known else None)
    assert len(kept.samples("GPU-a")) == min(len(loads), capacity)


def test_what_each_gpu_did() -> None:
    kept = History()
    for time, (load, used, power) in enumerate([(10, 100, None), (30, 900, 300.0), (20, 500, 100.0)]):
        sample = GpuSample(
            time,
            uuid="GPU-a",
            name="NVIDIA L4",
            utilization=load,
            memory_used_mib=used,
            power_w=power,
            memory_total_mib=23034,
        )
        kept.add(Reading((sample, GpuSample(time, uuid="GPU-b", driver="simulated"))))
    assert kept.uses == (Use("GPU-a", "NVIDIA L4", 900, 23034, 20, 30, 200, 300), Use("GPU-b", simulated=True))


def test_whether_gpus_are_simulated_is_known_from_the_first_reading_on() -> None:
    kept = History()
    assert kept.simulated is None
    for driver, simulated in (("simulated", True), ("580.95.05", False)):
        kept.add(Reading((GpuSample(0, uuid="GPU-a", driver=driver),)))
        assert kept.simulated is simulated


def at(*times: float, capacity: int = 3600) -> History:
    """A history of readings that arrive in this order; a sample's load is its time."""
    kept = History(capacity)
    for time in times:
        kept.add(Reading((GpuSample(time, uuid="GPU-a", utilization=time),)))
    return kept


@pytest.mark.parametrize(
    "times, capacity, kept",
    [
        ((0, 1, 2), 9, [0, 1, 2]),
        ((2, 1, 0), 9, [0, 1, 2]),
        ((0, 5, 3, 4, 1), 9, [0, 1, 3, 4, 5]),
        ((1, 1, 1), 9, [1, 1, 1]),
        ((5, 6, 7, 1), 3, [5, 6, 7]),
        ((5, 6, 8, 7), 3, [6, 7, 8]),
        ((5, 4), 1, [5]),
    ],
)
def test_samples_are_in_the_order_of_their_time_whatever_that_of_their_arrival(
    times: tuple[float, ...], capacity: int, kept: list[float]
) -> None:
    history = at(*times, capacity=capacity)
    assert [sample.time for sample in history.samples("GPU-a")] == kept
    assert history.latest[0].time == max(times)
    assert history.peak("utilization") == max(times), "of all, also of those dropped"


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=40), st.integers(1, 50))
def test_any_order_of_arrival(times: list[float], capacity: int) -> None:
    assert [sample.time for sample in at(*times, capacity=capacity).samples("GPU-a")] == sorted(times)[-capacity:]
