"""The main file of child processes that multiprocessing starts from a rank by `spawn` or `forkserver`.

Such a child runs the parent's main file first, so that unpickling finds its classes and functions. A cell has no file,
so `write` makes one that restores the values sent with the cell and the definitions in the cell's text. The file never
runs the cell's other code (a script uses `if __name__ == "__main__"` for that).
"""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.messages.seal import opened, sealed
from modal_gpu_magic.wire.transfer import unpack
from modal_gpu_magic.wire.values.kinds import module_of

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
"""Nodes allowed on the right side of a constant (`BATCH = 4 * 32`): none of them runs anyone's code."""


def write(directory: Path, values: Transfer, source: str) -> Path:
    """Write the file that stands for a cell; return its path. `source` is plain Python, with its magics transformed."""
    main = directory / MAIN
    main.write_text(_TEMPLATE.format(directory=str(directory)), encoding="utf-8")
    (directory / CONTENT).write_bytes(sealed((values, source)))
    return main


def restore(namespace: dict[str, Any], directory: str) -> None:
    """Fill a spawned child's `__main__` namespace with the cell's values and definitions.

    A definition that fails is left out: it depends on objects that exist only in the running cell.
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
    """Bind classes that arrived only with their instances to their names: pickle finds classes by name."""
    for value in values:
        for each in (value, *getattr(value, "__dict__", {}).values()):
            kind = type(each)
            if module_of(kind) == "__main__" and "." not in kind.__qualname__:
                namespace.setdefault(kind.__name__, kind)


def definitions(source: str) -> list[ast.stmt]:
    """Return the cell's defining statements: imports, functions, classes, plain constants."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return [statement for statement in tree.body if isinstance(statement, _DEFINITIONS) or _is_constant(statement)]


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and all(
        isinstance(node, _PLAIN) for part in (*statement.targets, statement.value) for node in ast.walk(part)
    )
