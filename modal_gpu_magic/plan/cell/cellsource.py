"""Parse a cell: IPython's syntax becomes calls, and the result is parsed as Python. No code runs.

`plan.cell.embedded` interprets the calls for IPython's syntax; `plan.cell.names` interprets the tree.
"""

from __future__ import annotations

import ast
import traceback
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

Transform: TypeAlias = Callable[[str], str]
"""Turns a cell into Python: `!ls` becomes `get_ipython().system('ls')`. IPython's own: `shell.transform_cell`."""

_CELL_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_REFUSALS = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)
"""Exceptions of `compile`, including those for null bytes, lone surrogates, huge numbers and deep nesting."""


def ipython_transform(source: str) -> str:
    """Transform a cell with IPython's default transformers.

    Raises:
        SyntaxError: IPython's own syntax is broken.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


@lru_cache(maxsize=4)
def parse_cell(source: str, transform: Transform | None = None) -> ast.Module | None:
    """Parse a cell with IPython's syntax. None: the cell is invalid.

    The result is cached, because several functions parse the same cell. Callers must not change the tree.

    Args:
        source: source of the cell.
        transform: turns the cell into Python; None: IPython's default.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python shows the warning when the cell runs
        try:
            python = (transform or ipython_transform)(source)
        except Exception:  # noqa: BLE001 - a user's transformer may raise anything, and raises it again when the cell runs
            return None
    return parse_python(python)


def tree_of(source: str, transform: Transform | None = None) -> ast.Module:
    """Parse a cell.

    Raises:
        SyntaxError: the cell is invalid; Python's own message with the line.
    """
    tree = parse_cell(source, transform)
    if tree is None:
        try:
            python = (transform or ipython_transform)(source)
            compile(python, "<cell>", "exec", _CELL_FLAGS, dont_inherit=True)
        except SyntaxError as error:
            lines = "".join(traceback.format_exception_only(error)).splitlines()
            error.__dict__["_render_traceback_"] = lambda: lines  # IPython's hook: show the line of the cell only
            raise
        raise SyntaxError("the cell is not valid Python")
    return tree


def parse_python(source: str) -> ast.Module | None:
    """Parse plain Python with top-level `await`. None: the compiler would refuse the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
            # `ast.parse` alone accepts a top-level `return`, duplicate arguments and similar errors.
            compile(tree, "<cell>", "exec", _CELL_FLAGS, dont_inherit=True)
        except _REFUSALS:
            return None
    return tree
