"""Names that a cell binds only by augmented assignment: `v += 1` may change the object in place. Pure."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.cellsource import parse_cell
from modal_gpu_magic.plan.cell.scopes import captures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.plan.cell.cellsource import Transform


def only_augmented(source: str, transform: Transform | None = None) -> frozenset[str]:
    """Return names that the cell binds only by augmented assignment. The arguments are those of `analyse`."""
    tree = parse_cell(source, transform)
    if tree is None:
        return frozenset()
    targets = [node.target for node in ast.walk(tree) if isinstance(node, ast.AugAssign)]
    augmented = {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(augmented - set(_bound_otherwise(tree, {id(target) for target in targets})))


def _bound_otherwise(tree: ast.AST, targets: set[int]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in targets:
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.match_case):
            yield from captures(node.pattern)
