"""Laws of style that a reader would otherwise have to take on trust. Ruff holds most of them; these hold ruff."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.checks.sources import ROOT, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = [path for path in sources() if "modal_gpu_magic" in path.relative_to(ROOT).parts]


def nodes(kind: type[ast.AST], paths: list[Path]) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of a kind in the files, with its file."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield path.relative_to(ROOT), node


def test_no_relative_import() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, node in nodes(ast.ImportFrom, list(sources()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


def test_only_what_is_seen_prints() -> None:
    calls = [
        (path, node) for path, node in nodes(ast.Call, PACKAGE) if isinstance(node, ast.Call) and "ui" not in path.parts
    ]
    assert [
        f"{path}:{node.lineno}" for path, node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"
    ] == []


@pytest.mark.parametrize("path", sorted(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_opens_with_its_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "say what lives there and what does not"


def test_a_silenced_rule_says_which() -> None:
    bare = re.compile(r"#\s*(?:noqa|type:\s*ignore)(?!\s*[:\[])", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []
