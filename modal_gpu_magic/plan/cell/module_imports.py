"""Find the modules that a source file imports: top-level names, without relative imports. Pure."""

from __future__ import annotations

import ast


def imported(source: bytes) -> frozenset[str]:
    """Return the top-level names of all imported modules of a file. Empty for a file with a syntax error."""
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
