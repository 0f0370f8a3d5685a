"""nvidia-smi's text as people have really seen it: every capture, every odd value, any chunking."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.metrics.sample import (
    QUERY,
    SHORT_QUERY,
    GpuSample,
    Reading,
    SampleReader,
    parse,
)

FOLDER = Path(__file__).parent / "nvidia_smi"

QUERIES = {
    "01": "name memory.total driver_version",
    "03": "index name memory.used memory.total utilization.gpu",
    "05": "index name memory.total memory.used",
    "08": "name mig.mode.current x1 memory.used utilization.gpu temperature.gpu power.draw power.limit x2 "
    "clocks.sm clocks.max.sm x3 x4 x5 x6",
    "09": "name memory.total memory.free memory.used temperature.gpu power.draw",
    "f1": "index name utilization.gpu memory.used memory.total temperature.gpu power.draw",
    "f2": "index name utilization.gpu memory.used memory.total temperature.gpu power.draw power.limit",
    "f3": "name utilization.gpu memory.used memory.total",
    "f4": "index name memory.total uuid",
    "f5": "index uuid name pci.bus_id driver_version pstate temperature.gpu utilization.gpu utilization.memory "
    "memory.total memory.used memory.free power.draw power.limit clocks.sm clocks.mem clocks.gr ecc.mode.current "
    "mig.mode.current compute_mode pcie.link.gen.current pcie.link.width.current",
}
"""The columns of the files without a header (SOURCES.md)."""


def capture(number: str) -> tuple[str, tuple[str, ...]]:
    (path,) = FOLDER.glob(f"{number}_*.csv")
    return path.read_text(), tuple(QUERIES.get(number, "").split()) or QUERY


def samples(number: str) -> list[GpuSample]:
    return parse(*capture(number))


NUMBERS = sorted(path.name.partition("_")[0] for path in FOLDER.glob("*.csv"))

ROWS = {"01": 12, "02": 8, "03": 8, "05": 8, "06": 8, "12": 3, "13": 5, "14": 8, "f1": 2, "f2": 2, "f3": 4}
"""Rows that are samples, where it is not one."""


def test_every_file_is_here() -> None:
    assert len(NUMBERS) == 22


@pytest.mark.parametrize("number", NUMBERS)
def test_every_row_is_kept(number: str) -> None:
    assert len(samples(number)) == ROWS.get(number, 1)


S = GpuSample

EXPECTED = [
    ("01", 8, S(name="NVIDIA H100 80GB HBM3", memory_total_mib=81559, driver="580.95.05")),
    ("02", 1, S(index=1, name="NVIDIA H100 80GB HBM3", utilization=98, memory_used_mib=78990, memory_total_mib=81559)),
    ("03", 7, S(index=7, name="NVIDIA H100 80GB HBM3", utilization=0, memory_used_mib=71095, memory_total_mib=81559)),
    ("05", 5, S(index=5, name="NVIDIA B200", memory_used_mib=171176, memory_total_mib=183359)),
    ("06", 1, S(index=1, name="NVIDIA B200", temperature_c=37, memory_used_mib=0)),
    ("07", 0, S(index=0, memory_used_mib=0)),
    ("09", 0, S(name="NVIDIA GB10", temperature_c=39, power_w=3.74)),
    ("10", 0, S(index=0, name="NVIDIA GeForce RTX 4070 Laptop GPU")),
    ("11", 0, S(mig="Enabled")),
    ("12", 1, S(index=4, uuid="GPU-17559656-...", memory_used_mib=4, memory_total_mib=40960, mig="Disabled")),
    ("14", 2, S(utilization=0, memory_utilization=0)),
    ("15", 0, S(utilization=100, memory_utilization=0, power_w=592.74)),
    ("f1", 0, S(index=0, name="NVIDIA H100 80GB HBM3", utilization=97, memory_used_mib=65432, memory_total_mib=81559, temperature_c=61, power_w=512.3)),
    ("f1", 1, S(index=1, name="NVIDIA H100 80GB HBM3", utilization=0, memory_used_mib=1, memory_total_mib=81559, temperature_c=30)),
    ("f2", 1, S(index=1, name="NVIDIA A100-SXM4-80GB", memory_used_mib=1024, memory_total_mib=81920, temperature_c=41, power_limit_w=400)),
    ("f3", 1, S(name="NVIDIA A100-SXM4-80GB", memory_total_mib=81920)),
    ("f3", 2, S(name="Tesla T4", utilization=0)),
    ("f3", 3, S(name="Odd, Name, With Commas", utilization=99.6, memory_used_mib=1, memory_total_mib=2)),
    ("f4", 0, S(index=0, name="Tesla T4", memory_total_mib=15360, uuid="GPU-x")),
]  # fmt: skip


@pytest.mark.parametrize("number, row, sample", EXPECTED)
def test_rows(number: str, row: int, sample: GpuSample) -> None:
    assert samples(number)[row] == sample


def test_a_card_with_unified_memory_has_no_used_memory() -> None:
    (sample,) = samples("08")
    assert (sample.memory_used_mib, sample.utilization, sample.power_w, sample.power_limit_w) == (None, 0, 10.8, None)


def test_a_new_driver_that_says_no_memory_is_used() -> None:
    (sample,) = samples("04")
    assert (sample.memory_used_mib, sample.memory_total_mib, sample.pstate, sample.pcie_generation) == (
        0,
        81559,
        "P0",
        5,
    )


def test_a_wide_row() -> None:
    (sample,) = samples("f5")
    assert (sample.uuid, sample.power_w, sample.clock_sm_mhz, sample.mig) == ("GPU-aaa", 312.5, 1410, "Enabled")
    assert (sample.pcie_generation, sample.pcie_width, sample.driver) == (4, 16, "550.54.15")


ROW = "3, GPU-b, 41, 7, 1024, 81559, 88.5, 700.00, 35, 1410, 1980, P0, 5, 16, Disabled, 0x0000000000000024, 580.95.05, NVIDIA H100, odd"


def test_the_full_query() -> None:
    assert parse(ROW, QUERY, 9.5) == [
        S(9.5, 3, "GPU-b", "NVIDIA H100, odd", 41, 7, 1024, 81559, 88.5, 700, 35, 1410, 1980, "P0", 5, 16, "Disabled", 0x24, "580.95.05")
    ]  # fmt: skip


def test_the_short_query_is_part_of_the_full_one() -> None:
    assert set(SHORT_QUERY) < set(QUERY)
    assert QUERY[-1] == SHORT_QUERY[-1] == "name"


@pytest.mark.parametrize(
    "text",
    [
        *("[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "[GPU requires reset]", "[Insufficient Permissions]"),
        *("ERR!", "", "-", "-1", "nan", "inf", "1e400", "0x10", "1 2", "9" * 400, "٣", "1.", ".5", "12 GiB", "None"),
    ],
)
@pytest.mark.parametrize("field", [field for field in QUERY if field not in ("index", "name")])
def test_what_is_no_value_is_unknown(text: str, field: str) -> None:
    cells = ["0", *("1" for _ in QUERY[1:-1]), "A GPU"]
    cells[QUERY.index(field)] = text
    plain = parse(", ".join(["0", *("1" for _ in QUERY[1:-1]), "A GPU"]))[0]
    (sample,) = parse(", ".join(cells))
    changed = {name: getattr(sample, name) for name in S.__slots__ if getattr(sample, name) != getattr(plain, name)}
    assert all(value is None for value in changed.values()) or field in ("driver_version", QUERY[-3])


@pytest.mark.parametrize("text", ["[N/A]", "N/A", "ERR!", "[Unknown Error]", ""])
def test_a_name_that_is_none(text: str) -> None:
    assert parse(f"0, {text}", ("index", "name")) == [S(index=0)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "No devices were found",
        "Failed to initialize NVML: Driver/library version mismatch",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that it is running.",
        "WARNING: infoROM is corrupted",
        'Field "clocks.none" is not a valid field to query.',
        "0, GPU-a, 41",
        ", ".join(["[N/A]"] * len(QUERY)),
        "Mon Sep 28 10:00:00 2026\n| N/A 35C P0 88W / 700W |",
    ],
)
def test_text_that_is_no_row(text: str) -> None:
    assert parse(text) == []


def test_windows_line_ends() -> None:
    assert parse(ROW + "\r\n" + ROW + "\r\n") == parse(ROW + "\n" + ROW + "\n")


def test_the_stand_in_is_known() -> None:
    assert parse("simulated, x", ("driver_version", "name"))[0].simulated
    assert not parse(ROW)[0].simulated


@pytest.mark.parametrize(
    "wrong", [{"utilization": -1.0}, {"power_w": math.nan}, {"memory_used_mib": math.inf}, {"index": -1}]
)
def test_no_gpu_has_such_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*; a reading must be finite and not negative"):
        S(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_reading_has_a_row() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Reading(())


# -- streams -----------------------------------------------------------------------------------------------------------


def rows(ticks: int, gpus: int) -> list[str]:
    return [f"{gpu}, GPU-{gpu}, {tick}, 1, 2, A GPU\n" for tick in range(ticks) for gpu in range(gpus)]


def shape(readings: list[Reading]) -> list[list[tuple[int | None, float | None]]]:
    return [[(sample.index, sample.utilization) for sample in reading.samples] for reading in readings]


def test_a_tick_is_complete_with_its_last_gpu() -> None:
    reader = SampleReader(SHORT_QUERY)
    lines = rows(3, 2)
    assert [shape(reader.feed(line, time)) for time, line in enumerate(lines)] == [
        [],
        [],
        [[(0, 0), (1, 0)]],  # only now is it known that there are two
        [[(0, 1), (1, 1)]],
        [],
        [[(0, 2), (1, 2)]],
    ]
    assert reader.finish() == []


def test_the_first_tick_need_not_wait_where_the_count_is_known() -> None:
    reader = SampleReader(SHORT_QUERY, gpus=2)
    assert [len(reader.feed(line)) for line in rows(2, 2)] == [0, 1, 0, 1]


def test_one_gpu() -> None:
    assert [len(SampleReader(SHORT_QUERY, gpus=1).feed(line)) for line in rows(3, 1)] == [1, 1, 1]


def test_a_wrong_count_loses_nothing() -> None:
    for gpus in (1, 3, 9):
        reader = SampleReader(SHORT_QUERY, gpus=gpus)
        readings = [*reader.feed("".join(rows(4, 2))), *reader.finish()]
        assert sum(len(reading.samples) for reading in readings) == 8
        assert shape(readings)[-1] == [(0, 3), (1, 3)]


def test_a_gpu_that_falls_silent_ends_its_tick_with_the_next() -> None:
    reader = SampleReader(SHORT_QUERY)
    lines = rows(5, 2)
    del lines[5], lines[6]  # the second GPU's rows of ticks 2 and 3
    readings = [*reader.feed("".join(lines)), *reader.finish()]
    assert shape(readings) == [[(0, 0), (1, 0)], [(0, 1), (1, 1)], [(0, 2)], [(0, 3)], [(0, 4), (1, 4)]]


def test_a_tick_that_lacks_its_last_gpu_and_one_that_lacks_its_first() -> None:
    reader = SampleReader(SHORT_QUERY)
    lines = rows(3, 3)
    del lines[5:7]
    readings = [*reader.feed("".join(lines)), *reader.finish()]
    assert shape(readings) == [[(0, 0), (1, 0), (2, 0)], [(0, 1), (1, 1)], [(1, 2), (2, 2)]]


def test_the_end_gives_what_is_left() -> None:
    reader = SampleReader(SHORT_QUERY)
    assert reader.feed("".join(rows(1, 2)).rstrip("\n"), 3.0) == []
    (reading,) = reader.finish(4.0)
    assert [sample.time for sample in reading.samples] == [3.0, 4.0]
    assert reading.time == 3.0
    assert reader.finish() == []


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), st.lists(st.integers(0, 4000), max_size=12))
def test_any_chunking_of_a_capture(number: str, places: list[int]) -> None:
    text, query = capture(number)
    whole, pieces = SampleReader(query), SampleReader(query)
    expected = [*whole.feed(text), *whole.finish()]
    assert [*(reading for piece in cut(text, places) for reading in pieces.feed(piece)), *pieces.finish()] == expected
    assert [sample for reading in expected for sample in reading.samples] == parse(text, query)


@settings(deadline=None)
@given(st.text(st.sampled_from("0, 1\n%GPU-[]N/Aa.")), st.lists(st.integers(0, 200), max_size=5))
def test_any_chunking_of_any_text(text: str, places: list[int]) -> None:
    query = ("index", "uuid", "utilization.gpu")
    reader = SampleReader(query)
    found = [*(reading for piece in cut(text, places) for reading in reader.feed(piece)), *reader.finish()]
    assert [sample for reading in found for sample in reading.samples] == parse(text, query)


@given(st.text())
def test_any_text(text: str) -> None:
    parse(text, ("index", "name", "power.draw"))
    parse(text, ("power.draw",))


# -- crossing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_a_reading_crosses_as_plain_tuples(number: str) -> None:
    (reading,) = [Reading(tuple(samples(number)))]
    rows = reading.at(5.0).rows
    assert {type(value) for row in rows for value in row} <= {int, float, str, type(None)}
    assert Reading.of(rows, 5.0) == reading.at(5.0)


def test_a_reading_of_another_node_keeps_its_gpus_apart() -> None:
    here = Reading((S(index=0, name="A GPU"),))
    there = Reading.of(here.rows, 1.5, node=3)
    assert (there.time, there.samples[0].node, there.samples[0].gpu, here.samples[0].gpu) == (1.5, 3, "3/0", "0")


@pytest.mark.parametrize("killed, count", [(False, 2), (True, 1)])
def test_a_line_without_an_end_is_half_a_row_where_the_program_was_killed(killed: bool, count: int) -> None:
    reader = SampleReader(SHORT_QUERY)
    reader.feed("0, GPU-0, 1, 1, 2, A GPU\n1, GPU-1, 1, 1, 2, A G")
    (reading,) = reader.finish(killed=killed)
    assert len(reading.samples) == count
