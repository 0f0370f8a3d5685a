"""The table of cases: the kinds in groups, and the whole notebooks. What is in a group shares two kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from tests.e2e.cases.case import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.cases.case import Case

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "values": ("identity", "closures", "classes", "overwrite", "guards", "dynamic", "failing", "containers"),
    "torch": ("training", "trainers", "views", "autograd"),
    "process": ("output", "unstable", "exceptions", "files", "deletion", "state"),
}
"""Kinds by group: those that import torch together, so that torch is imported once; those that change the process apart."""

MIXED: Final = ("plain_loop", "trainer_class", "engine", "sklearn_grid", "pandas_features", "gpt", "agent", "gan")


def cases(group: str) -> list[tuple[str, Case]]:
    """The cases of a group, each with its kind."""
    found = ((kind, importlib.import_module(f"tests.e2e.cases.{kind}").CASES) for kind in GROUPS[group])
    return [(kind, case) for kind, texts in found for case in read(texts)]


def notebooks() -> tuple[Case, ...]:
    """The notebooks in mixed mode."""
    return read({name: importlib.import_module(f"tests.e2e.mixed.{name}").NOTEBOOK for name in MIXED})
