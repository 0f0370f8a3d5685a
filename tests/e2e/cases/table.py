"""The table of cases: the kinds in groups. The cases of a group share two kernels, and clean up after themselves."""

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
"""Kinds by group. Those that import torch are in one group, so that it is imported once; those that change the process in
another."""


def cases(group: str) -> list[tuple[str, Case]]:
    """The cases of a group, each with its kind."""
    return [
        (kind, case) for kind in GROUPS[group] for case in read(importlib.import_module(f"{__package__}.{kind}").CASES)
    ]
