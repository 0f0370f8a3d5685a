"""What a module's source imports: top-level names, relative imports left out. Pure."""

from __future__ import annotations

import ast


def imported(source: bytes) -> frozenset[str]:
    """Top-level names of the modules imported anywhere in a file, also inside functions. A broken file imports none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)
