"""The import statements of a cell, by the names that they bind in the notebook's namespace. Pure."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.cellsource import parse_cell, parse_python
from modal_gpu_magic.plan.cell.embedded import is_shell_call, pieces_of_shell_call
from modal_gpu_magic.wire.values.imports import Import

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modal_gpu_magic.plan.cell.cellsource import Transform

_OTHER_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def import_statements(source: str, transform: Transform | None = None) -> dict[str, tuple[Import, ...]]:
    """Return the import statements at a cell's top level, including those inside `if`, `try` and other blocks.

    Args:
        source: source of the cell.
        transform: turns the cell into Python; None: IPython's default.

    Returns:
        By bound name, the statements that may bind it. Star imports are left out.
    """
    tree = parse_cell(source, transform)
    found: dict[str, tuple[Import, ...]] = {}
    for name, statement in _statements(tree.body if tree else (), transform):
        found[name] = _joined(found.get(name, ()), statement)
    return found


def _statements(body: Iterable[ast.AST], transform: Transform | None) -> Iterator[tuple[str, Import]]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, dot, _ = alias.name.partition(".")
                yield (
                    (alias.asname, Import(alias.name))
                    if alias.asname
                    else (top, Import(top, also=(alias.name,) if dot else ()))
                )
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level and node.module != "__future__":
                names = [alias for alias in node.names if alias.name != "*"]
                yield from ((alias.asname or alias.name, Import(node.module, alias.name)) for alias in names)
        elif isinstance(node, ast.Call) and is_shell_call(node):
            for piece in pieces_of_shell_call(node):
                tree = parse_cell(piece.source, transform) if piece.how == "cell" else None
                tree = parse_python(piece.source) if piece.how == "python" else tree
                yield from _statements(tree.body if tree else (), transform)
        elif not isinstance(node, _OTHER_SCOPES):
            yield from _statements(ast.iter_child_nodes(node), transform)


def _joined(before: tuple[Import, ...], new: Import) -> tuple[Import, ...]:
    """Merge statements: `import a.b` and `import a.c` bind one `a` that has both."""
    same = next((each for each in before if (each.module, each.attribute) == (new.module, new.attribute)), None)
    if same is None:
        return (*before, new)
    both = Import(new.module, new.attribute, tuple(dict.fromkeys((*same.also, *new.also))))
    return tuple(both if each is same else each for each in before)
