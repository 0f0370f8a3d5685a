"""A container's own figures: they cross as plain tuples, also between versions, and nonsense is refused."""

from __future__ import annotations

import math

import pytest

from modal_gpu_magic.metrics.host import HostSample
from modal_gpu_magic.metrics.processes import GpuProcess
from modal_gpu_magic.metrics.sample import GpuSample, Reading

HOST = HostSample(50.0, 16.0, 1024.0, 65536.0, 1e6, 2048.0, 4096.0, 1e3, 2e3)
ROW = (50.0, 16.0, 1024.0, 65536.0, 1e6, 2048.0, 4096.0, 1e3, 2e3)
READING = Reading((GpuSample(time=5.0, index=0, name="A GPU"),), HOST, (GpuProcess("GPU-a", 1, 2.0, "python"),))


def test_the_row_on_the_wire() -> None:
    """Golden: containers of other versions send and read these positions."""
    assert HOST.row == ROW
    assert READING.beside == {"host": ROW, "processes": (("GPU-a", 1, 2.0, "python"),)}
    assert READING.rows == ((0, None, "A GPU", *(None,) * 15),)


def test_it_crosses() -> None:
    assert Reading.of(READING.rows, 5.0, **READING.beside) == READING
    assert READING.at(7.0).host == HOST
    assert READING.at(7.0).time == 7.0


def test_a_container_that_sends_none() -> None:
    bare = Reading(READING.samples)
    assert bare.beside == {}
    assert Reading.of(bare.rows, 5.0, **bare.beside) == bare


def test_a_container_without_gpus() -> None:
    alone = Reading((), HOST, moment=5.0).at(7.0)
    crossed = Reading.of(alone.rows, alone.time, 3, **alone.beside)
    assert (crossed.samples, crossed.host, crossed.time, crossed.node) == ((), HOST, 7.0, 3)
    with pytest.raises(ValueError, match="at least one sample"):
        Reading.of((), 5.0)


def test_other_versions_send_fewer_or_more_values() -> None:
    assert HostSample.of(ROW[:2]) == HostSample(50.0, 16.0)
    assert HostSample.of((*ROW, 7.0)) == HOST
    assert Reading.of([(0, "GPU-a", "A GPU")], 5.0).samples == (GpuSample(5.0, 0, "GPU-a", "A GPU"),)
    assert Reading.of([(*READING.rows[0], "new", 1)], 5.0, node=2).samples == (GpuSample(5.0, 0, name="A GPU", node=2),)


@pytest.mark.parametrize("wrong", [{"cpu": -1.0}, {"sent": math.nan}, {"memory_used_mib": math.inf}])
def test_no_container_has_such_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*; a sample must be finite and not negative"):
        HostSample(**wrong)
