"""`--model` on the line: what it picks, and what it says of GPUs that are asked for."""

from __future__ import annotations

import pytest

from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.choice import Choice, choose
from modal_gpu_magic.plan.machine.quote import rate
from modal_gpu_magic.plan.machine.recommend import per_hour, recommend


def chosen(line: str) -> Choice:
    """What a line comes to."""
    parsed = parse(line)
    return choose(parsed.options, parsed.specs)


@pytest.mark.parametrize(
    "line, picked",
    [
        ("--model 13B --task lora", "A100-40GB"),
        ("--model 13b", "L40S"),
        ("--model 70B --dtype int4", "A100-80GB"),
        ("--model 7B --task LoRA", "A100-40GB"),
        ("--model 13B --task full --budget 9", "B300"),
        ("--model 350M", "L4"),
    ],
)
def test_without_a_gpu_the_first_recommendation_is_picked_and_said(line: str, picked: str) -> None:
    choice = chosen(line)
    options = parse(line).options
    rows = recommend(options.model or "", options.task or "inference", options.dtype or "bf16", options.budget)  # type: ignore[arg-type]  # words of the line
    assert [str(spec) for spec in choice.specs] == [picked] == [str(rows[0].spec)]
    assert choice.said.startswith(f"Picked {picked} ($")
    assert rows[0].reason in choice.said
    assert rows[0].formula in choice.said
    assert "\n" not in choice.said


@pytest.mark.parametrize(
    "line", ["H100 --model 13B", "T4:8 H100 --model 13B", "L40S:2 --model 13B --task lora --budget 5", "", "L4"]
)
def test_a_gpu_that_holds_the_model_needs_no_word(line: str) -> None:
    assert chosen(line) == Choice(parse(line).specs)


@pytest.mark.parametrize(
    "line, said",
    [
        ("T4 --model 13B --task lora", "T4 has 16 GB, and 13B lora in bf16 needs 34 GB (13B × 2 bytes = 26 GB "),
        ("T4 --model 13B --task lora", "; A100-40GB has enough memory."),
        ("H100 L4 --model 13B", "L4 has 24 GB, and 13B inference in bf16 needs 31 GB "),
        ("T4 L4 --model 13B", "T4 has 16 GB, L4 has 24 GB, and"),
        ("H100:8 --model 900B --task full", "; no single container has enough memory."),
        ("H100 --model 7B --budget 2", f"H100 costs {rate(per_hour(GpuSpec('H100')))}, more than --budget 2."),
    ],
)
def test_one_that_does_not_is_a_remark(line: str, said: str) -> None:
    choice = chosen(line)
    assert choice.specs == parse(line).specs
    assert said in choice.said


def test_of_a_gpu_that_is_not_known_nothing_is_said() -> None:
    assert chosen("X1000 --allow-unknown-gpu --model 70B").said == ""


@pytest.mark.parametrize(
    "line, kind, said",
    [
        ("--task lora", LineError, "--task needs a model"),
        ("H100 --budget 5", LineError, "--budget needs a model"),
        ("--dtype int8", LineError, "write --model 13B --task lora."),
        ("--model 13B --task full --dtype int8", LineError, "int8 weights cannot be trained"),
        ("H100 --model 13B --task full --dtype int8", LineError, "int8 weights cannot be trained"),
        ("--model 2T", MachineError, "one container has 2,304 GB at most"),
        ("--model 13B --budget 0.5", MachineError, "the cheapest is "),
    ],
)
def test_what_is_refused(line: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said.replace("(", "\\(")):
        chosen(line)
