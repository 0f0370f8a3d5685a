"""The law of lengths: no module over 400 lines, no function over 60. `make check` runs this file.

Long code is code nobody has cut into named steps yet; the numbers are DESIGN section 3's.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("modal_gpu_magic", "tests", "notebooks")
MODULE_LINES = 400
FUNCTION_LINES = 60


def too_long(path: Path) -> Iterator[str]:
    """One line for each thing in the file at `path` that is over the law, in the form editors can jump to."""
    source = path.read_text(encoding="utf-8")
    lines = source.count("\n")
    if lines > MODULE_LINES:
        yield f"{path}:1: {lines} lines, {MODULE_LINES} at most"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES} at most"


def sources(root: Path = ROOT) -> Iterator[Path]:
    """Every Python file the law holds for."""
    for folder in FOLDERS:
        yield from sorted((root / folder).rglob("*.py"))


if __name__ == "__main__":
    found = [line for path in sources() for line in too_long(path)]
    sys.exit("\n".join(found) or None)
