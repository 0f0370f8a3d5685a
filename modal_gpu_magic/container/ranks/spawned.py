"""A child that multiprocessing starts afresh from a rank (`spawn`, `forkserver`): what its `__main__` is made of.

Such a child runs the parent's main file first, so that what it unpickles finds its classes and functions. A cell has no
file, so one is written: it holds the values that came with the cell, and what the cell's text defines, and never runs
the cell's own code (a script has `if __name__ == "__main__"` for that).
"""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.messages.seal import opened, sealed
from modal_gpu_magic.wire.transfer import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modal_gpu_magic.wire.messages.events import Transfer

MAIN, CONTENT = "cell.py", "cell.pickle"
_TEMPLATE = "from modal_gpu_magic.container.ranks.spawned import restore\n\nrestore(globals(), {directory!r})\n"

_DEFINITIONS: Final = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PLAIN: Final = (
    ast.Constant,
    ast.Name,
    ast.Tuple,
    ast.List,
    ast.Set,
    ast.Dict,
    ast.UnaryOp,
    ast.BinOp,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
)
"""What the right side of a constant (`BATCH = 4 * 32`) is made of: nothing that runs code of anybody's."""


def write(directory: Path, values: Transfer, source: str) -> Path:
    """Write the file that stands for a cell; returns its path. `source` is plain Python, its magics transformed."""
    main = directory / MAIN
    main.write_text(_TEMPLATE.format(directory=str(directory)), encoding="utf-8")
    (directory / CONTENT).write_bytes(sealed((values, source)))
    return main


def restore(namespace: dict[str, Any], directory: str) -> None:
    """Make a module's namespace what such a child needs.

    A definition that fails is left out: it rests on what only the running cell has, and so no child can have it.
    """
    values, source = opened((Path(directory) / CONTENT).read_bytes())
    arrived = unpack(values, namespace, SharedStore(directory)).values
    namespace.update(arrived)
    bind_classes(namespace, arrived.values())
    for statement in definitions(source):
        code = compile(ast.Module([statement], []), "<cell>", "exec", dont_inherit=True)
        with contextlib.suppress(Exception):
            exec(code, namespace)  # noqa: S102 - the user's own cell


def bind_classes(namespace: dict[str, Any], values: Iterable[Any]) -> None:
    """Give the notebook's classes that came only with their instances their names: pickle finds them by name."""
    for value in values:
        for each in (value, *getattr(value, "__dict__", {}).values()):
            kind = type(each)
            if kind.__module__ == "__main__" and "." not in kind.__qualname__:
                namespace.setdefault(kind.__name__, kind)


def definitions(source: str) -> list[ast.stmt]:
    """The statements of a cell that define: imports, functions, classes, plain constants."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return [statement for statement in tree.body if isinstance(statement, _DEFINITIONS) or _is_constant(statement)]


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and all(
        isinstance(node, _PLAIN) for part in (*statement.targets, statement.value) for node in ast.walk(part)
    )
