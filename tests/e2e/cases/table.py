"""The table of cases: the kinds in groups, the whole notebooks among them. What is in a group shares two kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from tests.e2e.cases.case import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.cases.case import Case

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "values": ("identity", "closures", "classes", "overwrite", "guards", "dynamic", "failing", "containers"),
    "libraries": (
        *("training", "trainers", "views", "autograd", "mixed"),
        *("output", "unstable", "exceptions", "files", "deletion", "state"),
    ),
}
"""Kinds by group: those that import torch, scikit-learn or matplotlib together, so that each process does so once."""

MIXED: Final = "mixed"
"""The kind of the whole notebooks in mixed mode, which lie in `mixed/`."""

NOTEBOOKS: Final = ("plain_loop", "trainer_class", "engine", "sklearn_grid", "pandas_features", "gpt", "agent", "gan")


def cases(group: str) -> list[tuple[str, Case]]:
    """The cases of a group, each with its kind."""
    found = ((kind, _notebooks() if kind == MIXED else _texts(kind)) for kind in GROUPS[group])
    return [(kind, case) for kind, texts in found for case in read(texts)]


def _texts(kind: str) -> Mapping[str, str]:
    texts: Mapping[str, str] = importlib.import_module(f"tests.e2e.cases.{kind}").CASES
    return texts


def _notebooks() -> Mapping[str, str]:
    return {name: importlib.import_module(f"tests.e2e.mixed.{name}").NOTEBOOK for name in NOTEBOOKS}
