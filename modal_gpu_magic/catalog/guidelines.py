"""The two guideline tables of Modal's GPU reference, row for row: recommended GPUs by task and model size.

Source: Modal's GPU reference, "GPU Selection Guidelines": "For Inference" and "For Training". The reference assumes
16-bit weights and names no dtype. Its size classes meet at 13B and at 70B; the reference does not assign the boundary.
This module assigns the boundary to the smaller class: a 13B model is in "7B-13B", a 70B model in "13B-70B".
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Guideline:
    """One row of the reference's tables.

    Attributes:
        label: the first column, word for word.
        gpus: the second column, in order; `H100:2+` means two or more H100.
        least: lower bound of the size class in parameters; 0 in a table without sizes.
        least_is_in: whether a model of exactly `least` parameters belongs to this row.
    """

    label: str
    gpus: tuple[str, ...]
    least: float = 0.0
    least_is_in: bool = True

    def reached_by(self, params: float) -> bool:
        """Whether a model is large enough for the row."""
        return params > self.least or (self.least_is_in and params == self.least)


INFERENCE = (
    Guideline("< 7B params", ("L4", "T4")),
    Guideline("7B-13B params", ("L40S", "A100-40GB"), 7e9),
    Guideline("13B-70B params", ("A100-80GB", "H100"), 13e9, least_is_in=False),
    Guideline("> 70B params", ("H100:2+", "H200", "B200"), 70e9, least_is_in=False),
)
"""Rows of "For Inference", smallest class first."""

TRAINING: Mapping[str, Guideline] = MappingProxyType(
    {
        "lora": Guideline("Fine-tuning (LoRA)", ("A100-40GB", "L40S")),
        "full": Guideline("Full fine-tuning", ("A100-80GB", "H100")),
        "pretrain": Guideline("Pre-training", ("H100:8", "H200:8")),
    }
)
"""Rows of "For Training", by task."""


def guideline(task: str, params: float) -> Guideline:
    """Return the row for a task and, for inference, a number of parameters above 0."""
    if task in TRAINING:
        return TRAINING[task]
    return [row for row in INFERENCE if row.reached_by(params)][-1]
