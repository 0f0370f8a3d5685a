"""Completion: what may stand at the cursor, from the tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.line.complete import complete, complete_recommend
from modal_gpu_magic.line.options import OPTIONS

KNOWN = {"--image": ["my_image"], "--in": ["model", "x"]}


def texts(line: str, cursor: int | None = None) -> list[str]:
    return [completion.text for completion in complete(line, cursor, machines=("big", "h1"), values=KNOWN)]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("H2", ["H200"]),
        ("h", ["H100", "H200", "h1"]),
        ("H100", ["H100", "H100!"]),
        ("a100", ["A100-80GB", "A100-40GB", "A100"]),
        ("L", ["L40S", "L4"]),
        ("--t", ["--timeout", "--torchrun", "--task"]),
        ("T4, b200", ["B200", "B200+"]),
        ("T4,l", ["L40S", "L4"]),
        ("A10:", ["A10:2", "A10:3", "A10:4"]),
        ("a10g:", ["A10G:2", "A10G:3", "A10G:4"]),
        ("H100!:8", ["H100!:8"]),
        ("foo:", []),
        ("24", ["24GB", "24GB..80GB"]),
        ("bi", ["big"]),
        ("--ti", ["--timeout"]),
        ("H100 --dr", ["--dry-run"]),
        ("--quiet --qu", []),
        ("--pip torch --pi", ["--pip"]),
        ("--image ", [*PRESETS, "my_image"]),
        ("--image=", [*PRESETS, "my_image"]),
        ("--image cu", ["cuda"]),
        ("--backend l", ["local"]),
        ("--in ", ["model", "x"]),
        ("--in x,mo", ["model"]),
        ("--timeout ", ["2h"]),
        ("--quiet --timeout 2", ["2h"]),
        ("--task ", ["inference", "lora", "full", "pretrain"]),
        ("--model ", ["13B"]),
        ("--nothing ", None),
        ("H100 # --ti", []),
    ],
)
def test_at_the_end(line: str, expected: list[str] | None) -> None:
    assert texts(line) == (texts("") if expected is None else expected)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("1", ["1B", "13B"]),
        ("13b ", ["inference", "lora", "full", "pretrain"]),
        ("13B l", ["lora"]),
        ("13B lora ", []),
        ("13B lora --", ["--dtype", "--budget"]),
        ("13B --dtype ", ["bf16", "fp16", "fp32", "int8", "int4"]),
        ("13B --dtype int8 f", ["full"]),
        ("--budget 5 7", ["7B", "70B"]),
        ("--budget ", ["5"]),
        ("13B --image ", []),
    ],
)
def test_the_words_of_recommend(line: str, expected: list[str]) -> None:
    assert [completion.text for completion in complete_recommend(line, len(line))] == expected


def test_recommend_begins_with_the_form_of_a_size() -> None:
    assert complete_recommend("", 0)[0].text == "350M"


def test_an_empty_line_offers_gpus_machines_and_needs() -> None:
    assert sorted(texts("")[: len(GPUS)]) == sorted(GPUS)
    assert texts("")[:2] == ["H100", "A100-80GB"]
    assert {completion.type for completion in complete("", machines=("big",))} == {"gpu", "machine", "need"}


def test_every_option_is_offered_once() -> None:
    assert sorted(texts("--")) == sorted(OPTIONS)
    assert texts("--")[:2] == ["--pip", "--timeout"]


def test_in_the_middle_of_a_line() -> None:
    assert texts("H1 --quiet", 2) == ["H100"]
    assert texts("--q --quiet", 3) == []


@given(st.text(alphabet="HhA10:!,-= '\"#\\agimet", max_size=15), st.data())
def test_any_text_at_any_place(line: str, data: st.DataObject) -> None:
    cursor = data.draw(st.integers(0, len(line)))
    for completion in complete(line, cursor, machines=("big",), values=KNOWN):
        assert 0 <= completion.start <= cursor
        assert completion.text.upper().startswith(line[completion.start : cursor].upper())
