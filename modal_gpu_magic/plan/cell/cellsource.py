"""The text of a cell as Python: IPython's syntax turned into calls, then parsed as a cell is parsed. Nothing is run.

What the calls mean that IPython's syntax becomes is in `plan.cell.embedded`; what the tree means is in
`plan.cell.names`.
"""

from __future__ import annotations

import ast
import traceback
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

Transform: TypeAlias = Callable[[str], str]
"""A cell as typed -> Python: `!ls` becomes `get_ipython().system('ls')`. A shell's own is `shell.transform_cell`."""

_CELL_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_REFUSALS = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)
"""What `compile` raises about a text: also null bytes, lone surrogates, huge numbers and too deep nesting."""


def ipython_transform(source: str) -> str:
    """What IPython makes of a cell when nobody has changed its transformers.

    Raises:
        SyntaxError: IPython's own syntax is broken.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


@lru_cache(maxsize=4)
def parse_cell(source: str, transform: Transform | None = None) -> ast.Module | None:
    """The tree of a cell with IPython's syntax, or None if it is not valid.

    Kept for the few who look at the same cell one after the other; nobody changes a tree.

    Args:
        source: the cell as typed.
        transform: how it becomes Python; None: as IPython does by default.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said where the cell runs, once
        try:
            python = (transform or ipython_transform)(source)
        except Exception:  # noqa: BLE001 - a shell's transformers are anyone's code, and the cell will meet them there
            return None
    return parse_python(python)


def tree_of(source: str, transform: Transform | None = None) -> ast.Module:
    """The tree of a cell.

    Raises:
        SyntaxError: it is not valid; as Python says it, with the line.
    """
    tree = parse_cell(source, transform)
    if tree is None:
        python = (transform or ipython_transform)(source)
        try:
            compile(python, "<cell>", "exec", _CELL_FLAGS, dont_inherit=True)
        except SyntaxError as error:
            lines = "".join(traceback.format_exception_only(error)).splitlines()
            error.__dict__["_render_traceback_"] = lambda: lines  # IPython's hook: the cell's line, not ours
            raise
        raise SyntaxError("this is no valid cell")
    return tree


def parse_python(source: str) -> ast.Module | None:
    """The tree of plain Python with top-level `await`, or None if a compiler would refuse it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
            # The tree alone lets `return` at the top, two arguments of one name and the like pass.
            compile(tree, "<cell>", "exec", _CELL_FLAGS, dont_inherit=True)
        except _REFUSALS:
            return None
    return tree
