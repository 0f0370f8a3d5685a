"""The reference's guideline tables, as it prints them."""

from __future__ import annotations

import pytest

from modal_gpu_magic.catalog.gpus import find
from modal_gpu_magic.catalog.guidelines import INFERENCE, TRAINING, guideline

FOR_INFERENCE = """\
| < 7B params | `L4`, `T4` |
| 7B-13B params | `L40S`, `A100-40GB` |
| 13B-70B params | `A100-80GB`, `H100` |
| > 70B params | `H100:2+`, `H200`, `B200` |"""

FOR_TRAINING = """\
| Fine-tuning (LoRA) | `A100-40GB`, `L40S` |
| Full fine-tuning | `A100-80GB`, `H100` |
| Pre-training | `H100:8`, `H200:8` |"""


def test_the_tables_are_the_reference_s() -> None:
    for rows, table in ((INFERENCE, FOR_INFERENCE), (tuple(TRAINING.values()), FOR_TRAINING)):
        printed = [f"| {row.label} | {', '.join(f'`{gpu}`' for gpu in row.gpus)} |" for row in rows]
        assert printed == table.splitlines()


def test_every_gpu_is_in_the_catalog() -> None:
    assert all(find(gpu.partition(":")[0]) for row in (*INFERENCE, *TRAINING.values()) for gpu in row.gpus)


@pytest.mark.parametrize(
    "params, label",
    [
        (1e3, "< 7B params"),
        (6.999e9, "< 7B params"),
        (7e9, "7B-13B params"),
        (13e9, "7B-13B params"),
        (13.001e9, "13B-70B params"),
        (70e9, "13B-70B params"),
        (70.001e9, "> 70B params"),
        (1e15, "> 70B params"),
    ],
)
def test_size_classes(params: float, label: str) -> None:
    assert guideline("inference", params).label == label


@pytest.mark.parametrize("params", [1e6, 500e9])
def test_training_asks_no_size(params: float) -> None:
    assert guideline("full", params).label == "Full fine-tuning"
