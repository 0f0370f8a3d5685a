"""Specs and needs: text to value and back, at birth from Python, and what they say of price and memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.errors import LineError, UnknownGpuError, masked
from modal_gpu_magic.line.spec import GpuSpec, Need

Refused = Callable[[Callable[[], object]], "LineError | None"]

# Text, what Modal gets, name, count, strict.
SPECS = [
    ("H100", "H100", "H100", 1, False),
    ("h100:1", "H100", "H100", 1, False),
    ("H100:2", "H100:2", "H100", 2, False),
    ("H100:02", "H100:2", "H100", 2, False),
    ("h100!", "H100!", "H100", 1, True),
    ("H100!:8", "H100!:8", "H100", 8, True),
    ("a100-40gb", "A100-40GB", "A100-40GB", 1, False),
    ("A100-80GB:4", "A100-80GB:4", "A100-80GB", 4, False),
    ("A100", "A100", "A100", 1, False),
    ("A10G:4", "A10:4", "A10", 4, False),
    ("B200+:8", "B200+:8", "B200+", 8, False),
    ("rtx-pro-6000", "RTX-PRO-6000", "RTX-PRO-6000", 1, False),
]


@pytest.mark.parametrize("text, sent, name, count, strict", SPECS)
def test_text_to_spec(text: str, sent: str, name: str, count: int, strict: bool) -> None:
    spec = GpuSpec.parse(text)
    assert spec == GpuSpec(name, count, strict)
    assert str(spec) == sent
    assert spec.gpu is GPUS[name]


@st.composite
def specs(draw: st.DrawFn) -> GpuSpec:
    gpu = draw(st.sampled_from(list(GPUS.values())))
    return GpuSpec(gpu.name, draw(st.integers(1, gpu.max_count)), gpu.strict and draw(st.booleans()))


@given(specs(), st.booleans())
def test_a_spec_is_what_its_text_says(spec: GpuSpec, lower: bool) -> None:
    text = str(spec)
    assert GpuSpec.parse(text.lower() if lower else text) == spec


@given(st.text(max_size=20), st.booleans())
def test_any_text_is_a_spec_or_a_line_error_that_points_into_it(
    refused: Refused, text: str, allow_unknown: bool
) -> None:
    error = refused(lambda: GpuSpec.parse(text, allow_unknown=allow_unknown))
    if error:
        assert error.line == masked(text)  # what looks like a variable of --env is stars
        assert 0 <= error.start <= error.end <= len(text)
    else:
        spec = GpuSpec.parse(text, allow_unknown=allow_unknown)
        assert GpuSpec.parse(str(spec), allow_unknown=allow_unknown) == spec


@pytest.mark.parametrize(
    "name, count, strict, part",
    [
        ("H100", 9, False, "9"),
        ("A10", 8, False, "8"),
        ("H100", 0, False, "0"),
        ("H100", -2, False, "-2"),
        ("A10", 1, True, "!"),
        ("FOO", 1, False, "FOO"),
        ("H 100", 1, False, "H 100:1"),
    ],
)
def test_checked_at_birth(name: str, count: int, strict: bool, part: str) -> None:
    with pytest.raises(LineError) as caught:
        GpuSpec(name, count, strict)
    error = caught.value
    assert error.line[error.start : error.end] == part


def test_a_count_that_is_no_integer() -> None:
    with pytest.raises(LineError, match=r"did you mean H100:2\?"):
        GpuSpec("H100", 2.0)  # type: ignore[arg-type]  # what an untyped caller does


def test_unknown_gpus_only_on_demand() -> None:
    with pytest.raises(UnknownGpuError):
        GpuSpec.parse("r100:2")
    spec = GpuSpec.parse("r100!:2", allow_unknown=True)
    assert spec == GpuSpec("R100", 2, strict=True, known=False)
    assert (str(spec), spec.gpu, spec.price_per_hour, spec.price_per_second, spec.vram_gb) == (
        "R100!:2",
        None,
        None,
        None,
        None,
    )
    assert spec.gives == ("R100",)


def test_a_known_gpu_stays_known_and_checked() -> None:
    assert GpuSpec.parse("a10g", allow_unknown=True) == GpuSpec("A10")
    with pytest.raises(LineError, match="1 to 4"):
        GpuSpec.parse("A10:8", allow_unknown=True)


def test_price_and_memory_are_of_all_its_gpus() -> None:
    spec = GpuSpec("H100", 2)
    assert spec.price_per_second == pytest.approx(0.002194)
    assert spec.price_per_hour == pytest.approx(7.8984)
    assert spec.vram_gb == 160


@pytest.mark.parametrize(
    "text, gives",
    [("H100", ("H100", "H200")), ("H100!", ("H100",)), ("A100", ("A100-40GB", "A100-80GB")), ("B200", ("B200",))],
)
def test_what_may_arrive(text: str, gives: tuple[str, ...]) -> None:
    assert GpuSpec.parse(text).gives == gives


NEEDS = [
    ("24GB", "L4 A10 L40S A100-40GB A100-80GB RTX-PRO-6000 H100 H200 B200 B300"),
    ("24gb..80gb:2", "L4:2 A10:2 L40S:2 A100-40GB:2 A100-80GB:2 H100:2"),
    ("24GB..48GB:8", "L4:8 L40S:8 A100-40GB:8"),  # no A10: it comes in 1 to 4
    ("16GB..16GB", "T4"),
    ("141GB", "H200 B200 B300"),
    ("288GB:8", "B300:8"),
]


@pytest.mark.parametrize("text, fits", NEEDS)
def test_a_need_is_met_by_those_that_fit_cheapest_first(text: str, fits: str) -> None:
    need = Need.parse(text)
    assert " ".join(map(str, need.resolve())) == fits
    assert str(need) == text.upper()


@given(st.integers(1, 288), st.none() | st.integers(0, 300), st.integers(1, 8))
def test_any_need_that_can_be_met(refused: Refused, least: int, more: int | None, count: int) -> None:
    most = None if more is None else least + more
    error = refused(lambda: Need(least, most, count))
    fit = [g for g in GPUS.values() if g.pinned and g.max_count >= count and least <= g.vram_gb <= (most or 999)]
    if error:
        assert not fit
        assert Need.parse(error.message.partition("write ")[2].split()[0].rstrip(".")).resolve()
    else:
        need = Need(least, most, count)
        assert Need.parse(str(need)) == need
        assert sorted(spec.name for spec in need.resolve()) == sorted(gpu.name for gpu in fit)


@given(st.text(max_size=15) | st.from_regex(r"[0-9]{1,3}G?B?(\.\.[0-9]{0,3}(GB)?)?(:[0-9])?", fullmatch=True))
def test_any_text_is_a_need_or_a_line_error(refused: Refused, text: str) -> None:
    error = refused(lambda: Need.parse(text))
    assert error is None or (error.line, error.start, error.end) == (text, 0, len(text))
    assert error or Need.looks_like(text)


@pytest.mark.parametrize(
    "text, looks",
    [
        ("24GB", True),
        ("24gb:2", True),
        ("24G", True),
        ("24..80", True),
        ("1.5TB", True),
        ("24", False),
        ("H100", False),
        ("2xH100", False),
        ("", False),
    ],
)
def test_what_is_meant_as_a_need(text: str, looks: bool) -> None:
    assert Need.looks_like(text) is looks
