"""Every package that the code imports is declared, and what exists in one place only is not made a second time."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "modal_gpu_magic"
OF_THE_USER = {"ipywidgets", "matplotlib", "numpy", "pandas", "torch"}
"""Packages that are used only with the user's own objects of them, or where the user has them."""


def imports(path: Path) -> Iterator[str]:
    """Top-level names of the modules that a file imports when it runs, wherever in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_every_import_is_of_a_declared_dependency() -> None:
    project: dict[str, Any] = toml.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(each).name) for each in project["dependencies"]}
    brings = importlib.metadata.packages_distributions()
    names = {name for path in PACKAGE.rglob("*.py") for name in imports(path)}
    names -= sys.stdlib_module_names | OF_THE_USER | {"modal_gpu_magic"}
    undeclared = {name for name in names if not declared & {canonicalize_name(each) for each in brings[name]}}
    assert not undeclared


@pytest.mark.parametrize(
    "what, pattern, place",
    [
        ("a name is normalised by packaging", r"\[-_\.\]\+", ""),
        ("the nearest word is found", r"difflib", "catalog/nearest.py"),
        ("a line is cut into words", r"shlex\.split\((?:text|rest)\)", "line/command.py"),
        ("Modal's 24 hours", r"(?<!\"d\": )86_?400|24 \* 3600(?!\.)", "catalog/limits.py"),
        ("Modal's nodes and GPUs", r"\b32, 256\b|most? ?nodes ?= ?\d|NODES ?= ?\d", "catalog/limits.py"),
        ("Modal's queues", r"\bITEMS ?= ?5_000|\bITEM_BYTES|PARTITION_BYTES ?=", "catalog/limits.py"),
        ("Modal's batches", r"600_000", "catalog/limits.py"),
    ],
)
def test_in_one_place(what: str, pattern: str, place: str) -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert found <= {place}


ADAPTERS = {
    r"shell_channel_thread|on_recv": "ui/widgets/ipykernel_channel.py",
    r"thread\._worker|\"_worker\"": "container/process/thread_pools.py",
    r"import _cluster|modal\._cluster": "sdk/modal_cluster.py",
    r"modal\.Client\(|CLIENT_TYPE": "sdk/modal_client.py",
    r"(?<!cloud)pickle\._": "wire/pickles/python_unpickler.py",
}
"""What is private to others, and the module that adapts it."""


@pytest.mark.parametrize("pattern, place", ADAPTERS.items())
def test_what_is_private_to_others_is_behind_one_adapter(pattern: str, place: str) -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8")) and "control_plane" not in path.parts
    }
    assert found == {place}
    said = (PACKAGE / place).read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0].replace("\n", " ")
    assert re.match(r"Adapter of ", said)
    assert re.search(r"Tested with (?:Python|modal|ipykernel) \d+\.[\d.]+ to \d+\.[\d.]+", said)
    assert re.search(r"Symptom if\s+this breaks: ", said)
