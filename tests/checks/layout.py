"""Laws of the layout that names alone can break; `make check` runs this file.

No file repeats its folder's name (`values/values.py`): the name says what the file does. No base name stands on three
floors or more: who reads `service.py` in a traceback knows which one that is. A folder's `__init__.py` says in one
sentence what lives there, and no module imports the package's face, whose names come from all floors. Import cycles
and upward imports are import-linter's (pyproject.toml).
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "modal_gpu_magic"
FLOORS_OF_A_NAME = 2
"""Floors that may have a module of the same name at most."""


def faults(package: Path) -> Iterator[str]:
    """One line for each fault, with the path that has it."""
    modules = sorted(path for path in package.rglob("*.py") if path.name != "__main__.py")
    floors: defaultdict[str, set[str]] = defaultdict(set)
    for folder in sorted({path.parent for path in modules}):
        if not (folder / "__init__.py").exists():
            yield f"{folder.relative_to(package)}/: has no __init__.py that says what lives there"
    for path in modules:
        place = path.relative_to(package)
        source = ast.parse(path.read_text(encoding="utf-8"))
        if path.parent != package and _imports_the_face(source, package.name):
            yield f"{place}: imports {package.name} itself; import the module that has the name"
        if path.name == "__init__.py":
            if path.parent != package and not _is_one_sentence(source):
                yield f"{place}: say in one sentence what lives in {place.parent.as_posix()}/"
            continue
        floors[path.stem].add(place.parts[0])
        if path.stem == path.parent.name:
            yield f"{place}: repeats its folder's name; name it by what it does"
    for name, found in sorted(floors.items()):
        if len(found) > FLOORS_OF_A_NAME:
            yield f"{name}.py: stands on {len(found)} floors: {', '.join(sorted(found))}"


def _is_one_sentence(source: ast.Module) -> bool:
    """Whether a folder's `__init__` is a docstring that begins with a line of one sentence, and nothing else."""
    sentence, _, details = (ast.get_docstring(source) or "").partition("\n")
    one = sentence.endswith((".", ".`")) and ". " not in sentence
    return len(source.body) == 1 and one and (not details or details.startswith("\n"))


def _imports_the_face(source: ast.Module, package: str) -> bool:
    nodes = list(ast.walk(source))
    whole = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    parts = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == package]
    return package in whole or bool(parts)


if __name__ == "__main__":
    sys.exit("\n".join(faults(PACKAGE)) or None)
