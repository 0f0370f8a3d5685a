"""Memory as text: one unit everywhere, and never `0.0` of it."""

from __future__ import annotations

import pytest

from modal_gpu_magic.metrics.memory_text import GIB, memory_of, memory_span, memory_text


@pytest.mark.parametrize(
    "mib, text",
    [
        (0, "0 MiB"),
        (0.4, "<1 MiB"),
        (30, "30 MiB"),
        (51, "51 MiB"),
        (52, "0.1 GiB"),
        (512, "0.5 GiB"),
        (10035, "9.8 GiB"),
        (10 * GIB - 1, "10 GiB"),
        (23034, "22 GiB"),
        (81559, "80 GiB"),
        (143771, "140 GiB"),
    ],
)
def test_memory(mib: float, text: str) -> None:
    assert memory_text(mib) == text


@pytest.mark.parametrize(
    "values, text",
    [
        ((10035, 10035), "9.8 GiB"),
        ((10035, 512, None), "0.5 to 9.8 GiB"),
        ((10035, 30), "30 MiB to 9.8 GiB"),
        ((None,), None),
        ((), None),
    ],
)
def test_memory_of_several_gpus(values: tuple[float | None, ...], text: str | None) -> None:
    assert memory_span(values) == text


@pytest.mark.parametrize(
    "used, total, text",
    [
        ([10035], [81559], "9.8 of 80 GiB"),
        ([10035, 512], [81559, 23034], "0.5 to 9.8 of 22 to 80 GiB"),
        ([30], [81559], "30 MiB of 80 GiB"),
        ([30, 10035], [81559], "30 MiB to 9.8 GiB of 80 GiB"),
        ([10], [20], "10 of 20 MiB"),
        ([10035], [None], "9.8 GiB"),
        ([None], [81559], None),
    ],
)
def test_memory_in_use_of_all(used: list[float | None], total: list[float | None], text: str | None) -> None:
    assert memory_of(used, total) == text
