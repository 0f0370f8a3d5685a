"""What a run's readings lead to: which GPU arrived, what would have held it, what is larger, the line that asks for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.advice import HEADROOM, arrived, larger, ready_line, smaller

H100 = "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    "name, mib, count, spec",
    [
        (H100, 81559, 2, "H100:2"),
        ("NVIDIA H200", 143771, 1, "H200"),
        ("NVIDIA A100-PCIE-40GB", 40960.0, 1, "A100-40GB"),
        ("NVIDIA GeForce RTX 4090", 24564, 1, None),
        (None, 81559, 1, None),
        (H100, None, 1, "H100"),
        ("NVIDIA A10", 23028, 8, None),
        (H100, 81559, 0, None),
    ],
)
def test_what_arrived(name: str | None, mib: float | None, count: int, spec: str | None) -> None:
    found = arrived(name, mib, count)
    assert (None if found is None else str(found)) == spec


@pytest.mark.parametrize(
    "got, billed, peak_gb, words",
    [
        ("H100", "H100", 9.8, "an L4 would fit: saves $3.15/h"),
        ("H200", "H100", 9.8, "an L4 would fit: saves $3.15/h"),
        ("H100:8", "H100:8", 20, "L4:8 would fit: saves $25.20/h"),
        ("H100:2", "H100:2", 40, "L40S:2 would fit: saves $4.00/h"),
        ("H100", "H100", 60, "an A100-80GB would fit: saves $1.45/h"),
        ("H100", "H100", 75, "an RTX-PRO-6000 would fit: saves $0.92/h"),
        ("A100-80GB", "A100", 42, None),
        ("A100-80GB", "A100-80GB", 30, "an L40S would fit: saves $0.55/h"),
        ("L4", "L4", 1, None),
        ("B200", "B200+", 90, "an H200 would fit: saves $1.71/h"),
        ("T4", "T4", 1, None),
    ],
)
def test_what_would_have_held_it(got: str, billed: str, peak_gb: float, words: str | None) -> None:
    """The cheapest with room to spare; no T4 for a run that may have used bf16."""
    found = smaller(GpuSpec.parse(got), GpuSpec.parse(billed), peak_gb * 1024)
    assert (None if found is None else str(found)) == words


def test_no_advice_where_a_price_is_not_known() -> None:
    unknown = GpuSpec.parse("X9000", allow_unknown=True)
    assert smaller(unknown, unknown, 1) is None
    assert smaller(GpuSpec("H100"), unknown, 1) is None


PINNED = [name for name, gpu in GPUS.items() if gpu.pinned]


@given(st.sampled_from(PINNED), st.integers(1, 8), st.floats(0, 300_000))
def test_advice_has_room_saves_money_and_is_offered(name: str, count: int, peak: float) -> None:
    got = GpuSpec(name, min(count, GPUS[name].max_count))
    found = smaller(got, got, peak)
    if found is not None:
        gpu = GPUS[found.spec.name]
        assert (gpu.nvidia_smi_memory_mib or 0) >= peak * HEADROOM
        assert 0 < found.saving < (got.price_per_hour or 0)
        assert found.spec.count == got.count <= gpu.max_count


@pytest.mark.parametrize(
    "spec, need_gb, next_one",
    [
        ("T4", 0, "L4"),
        ("L4:8", 0, "A100-40GB:8"),
        ("A10:4", 0, "A100-40GB:4"),
        ("A100-40GB", 0, "L40S"),
        ("A100-40GB", 50, "A100-80GB"),
        ("A100", 0, "L40S"),
        ("H100", 0, "RTX-PRO-6000"),
        ("H100!", 100, "H200"),
        ("RTX-PRO-6000", 0, "H200"),
        ("H100", 200, "B300"),
        ("B200", 0, "B300"),
        ("B300", 0, None),
        ("L4", 999, None),
    ],
)
def test_the_next_larger(spec: str, need_gb: float, next_one: str | None) -> None:
    found = larger(GpuSpec.parse(spec), need_gb * 1024)
    assert (None if found is None else str(found)) == next_one


def test_nothing_is_larger_than_what_is_not_known() -> None:
    assert larger(GpuSpec.parse("X9000", allow_unknown=True)) is None


@pytest.mark.parametrize(
    "header, line",
    [
        ("H100", "%%modal_gpu H200"),
        ("h100:2, a100", "%%modal_gpu H200"),
        ("--timeout 90m H100 --pip 'torch>=2'", "%%modal_gpu H200 --pip 'torch>=2' --timeout 1h30m"),
        ("", "%%modal_gpu H200"),
        ("24GB..80GB --quiet  # why", "%%modal_gpu H200 --quiet"),
        ("H100 --volume d:/d --env A=1", "%%modal_gpu H200 --volume d:/d"),
    ],
)
def test_the_line_keeps_all_but_the_gpus(header: str, line: str) -> None:
    assert ready_line(parse(header), GpuSpec("H200")) == line


def test_the_line_of_a_machine_names_the_gpu_instead() -> None:
    assert ready_line(parse("BOX --clean", machines=["BOX"]), GpuSpec("H200")) == "%%modal_gpu H200 --clean"
