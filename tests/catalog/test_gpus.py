"""The catalog against Modal's reference and the table of facts it was made from, and against nvidia-smi's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.catalog.gpus import GPUS, find, lookup, recognise
from modal_gpu_magic.errors import UnknownGpuError

# Modal GPU Reference, "Available GPUs", as it stands.
REFERENCE = """
| GPU | VRAM | Max Count | Best For |
|-----|------|-----------|----------|
| `T4` | 16 GB | 8 | Budget inference, light training |
| `L4` | 24 GB | 8 | Inference |
| `A10` | 24 GB | 4 | Inference, light training |
| `A100-40GB` | 40 GB | 8 | Training, large model inference |
| `A100-80GB` | 80 GB | 8 | Large models, distributed training |
| `L40S` | 48 GB | 8 | Best cost/performance ratio |
| `H100` | 80 GB | 8 | High-performance training |
| `H200` | 141 GB | 8 | Very large models |
| `B200` | 192 GB | 8 | Largest models, cutting-edge |
"""

FACTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "gpus.json").read_text())["gpus"]


def test_the_nine_of_the_reference_as_it_gives_them_and_in_its_order() -> None:
    rows = [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in REFERENCE.strip().splitlines()[2:]]
    ours = [[g.name, f"{g.vram_gb} GB", str(g.max_count), g.best_for] for g in GPUS.values() if g.in_reference]
    assert ours == rows


def test_what_modal_takes_beyond_the_reference() -> None:
    assert [gpu.name for gpu in GPUS.values() if not gpu.in_reference] == ["A100", "RTX-PRO-6000", "B200+", "B300"]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])
def test_every_fact_of_the_table(fact: dict[str, Any]) -> None:
    gpu = GPUS[fact["name"]]
    assert (gpu.vram_gb, gpu.architecture, gpu.compute_capability) == (
        fact["vram_gb"],
        fact["arch"],
        fact["compute_capability"],
    )
    assert (gpu.bandwidth_gbps, gpu.bf16_tflops) == (fact["bandwidth_gbps"], fact["bf16_tflops"])
    assert (gpu.price_per_second, gpu.price_date, gpu.price_source) == (
        fact["price_per_second_usd"],
        fact["price_date"],
        fact["price_source"],
    )
    assert gpu.price_per_hour == pytest.approx(fact["price_per_hour_usd"])
    assert (gpu.nvidia_smi_name, gpu.nvidia_smi_memory_mib) == (
        fact.get("nvidia_smi_name"),
        fact.get("nvidia_smi_memory_mib"),
    )
    assert gpu.in_reference == fact["in_seed"]
    assert gpu.best_for == (fact["best_for"] or gpu.best_for)
    assert gpu.max_count == (fact["max_count"] or 8)


def test_the_table_and_the_catalog_have_the_same_rows_but_for_the_bare_a100() -> None:
    """The table lists `A100` as an alias of A100-40GB; here it is a request of its own, since Modal may give 80 GB."""
    assert set(GPUS) == {fact["name"] for fact in FACTS} | {"A100"}
    aliases = {alias: gpu.name for gpu in GPUS.values() for alias in gpu.aliases}
    assert aliases == {"A10G": "A10"}


def test_a_bare_a100_costs_what_40_gb_cost_and_may_be_80() -> None:
    bare, pinned = GPUS["A100"], GPUS["A100-40GB"]
    assert (bare.vram_gb, bare.price_per_second) == (pinned.vram_gb, pinned.price_per_second)
    assert bare.gives == ("A100-40GB", "A100-80GB")
    assert not bare.pinned


def test_what_is_assumed_is_said() -> None:
    assert "our assumption" in GPUS["RTX-PRO-6000"].notes


def test_strict_is_for_h100_alone() -> None:
    assert [gpu.name for gpu in GPUS.values() if gpu.strict] == ["H100"]


def test_every_gpu_given_is_one_of_the_catalog() -> None:
    assert {name for gpu in GPUS.values() for name in gpu.gives} <= set(GPUS)
    assert [gpu.name for gpu in GPUS.values() if not gpu.pinned] == ["A100", "B200+"]


@pytest.mark.parametrize(
    "text, name",
    [
        ("h100", "H100"),
        ("A10g", "A10"),
        ("a100", "A100"),
        ("a100-80gb", "A100-80GB"),
        ("b200+", "B200+"),
        ("rtx-pro-6000", "RTX-PRO-6000"),
        ("L40s", "L40S"),
    ],
)
def test_names_in_any_case(text: str, name: str) -> None:
    assert find(text).name == name
    assert lookup(text) is find(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("V100", "No GPU is called V100; did you mean H100 or A100?"),
        ("h10", "No GPU is called h10; did you mean H100?"),
        ("A100-80", "No GPU is called A100-80; did you mean A100-80GB?"),
        ("A1000", "No GPU is called A1000; did you mean A100?"),
        ("gb200", "GB200 is for reservations only; write B200 or B300."),
        ("any", "`any` has no known price; list the GPUs that you accept, such as L4 A10 T4."),
        ("x", f"No GPU is called x; Modal has {', '.join(GPUS)}."),
    ],
)
def test_an_unknown_name_has_the_nearest(text: str, message: str) -> None:
    with pytest.raises(UnknownGpuError) as caught:
        find(text)
    error = caught.value
    assert (error.message, error.line[error.start : error.end]) == (message, text)
    assert lookup(text) is None


@pytest.mark.parametrize("name", [gpu.name for gpu in GPUS.values() if gpu.pinned])
def test_what_nvidia_smi_printed_at_modal_is_recognised(name: str) -> None:
    gpu = GPUS[name]
    assert gpu.nvidia_smi_name is not None
    assert recognise(gpu.nvidia_smi_name, gpu.nvidia_smi_memory_mib) is gpu
    assert recognise(f" {gpu.nvidia_smi_name}", None) is gpu


@pytest.mark.parametrize(
    "smi_name, memory_mib, name",
    [
        ("NVIDIA A100-PCIE-40GB", 40536, "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", 81920, "A100-80GB"),
        ("NVIDIA A100-SXM-64GB", 65536, None),
        ("NVIDIA A100 PCIe", None, None),  # 40 or 80 GB: nobody knows
        ("NVIDIA A10G", 23028, "A10"),
        ("NVIDIA H100 PCIe", 81559, "H100"),
        ("NVIDIA H100 NVL", 95830, None),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887, "RTX-PRO-6000"),
        ("Quadro RTX 6000", 24576, None),
        ("NVIDIA L40", 46068, None),
        ("NVIDIA GH200 480GB", 97871, None),
        ("NVIDIA GeForce RTX 4090", 24564, None),
        ("Tesla V100-SXM2-16GB", 16160, None),
        ("", None, None),
    ],
)
def test_other_boards_by_their_words_and_memory(smi_name: str, memory_mib: int | None, name: str | None) -> None:
    gpu = recognise(smi_name, memory_mib)
    assert (gpu and gpu.name) == name
