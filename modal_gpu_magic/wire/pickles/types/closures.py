"""Pickle closures of importable functions: functions that share a variable share its cell on the receiver's side.

cloudpickle gives each function its own cells, so that after `put, get = account()` each would have its own total.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGUMENTS, _STATE = 1, 2
_CLOSURE = 4
"""Index of the closure among the arguments of cloudpickle's `_make_function`."""


@dataclass(frozen=True, slots=True)
class Content:
    """Represents the content of a cell that is sent without a function that has the cell."""

    cell: types.CellType


def reduce_content(content: Content) -> tuple[Any, ...]:
    """Return the reduction of a cell's content: a cell that has the content."""
    return types.CellType, _content(content.cell)


def reduce_cell() -> tuple[Any, ...]:
    """Return the reduction of a cell: an empty cell, which the state of its function fills (`set_function`)."""
    return types.CellType, ()


def reduce_closure(
    function: types.FunctionType, reduced: tuple[Any, ...], is_stale: Callable[[types.CellType], bool] | None
) -> tuple[Any, ...]:
    """Return cloudpickle's reduction of a function with the function's own cells.

    The cells are arguments, because the function is created with them. Their contents are part of the state, because
    they may refer to the function. The content of a cell is left out where the receiver has newer content (`is_stale`).
    """
    if not function.__closure__ or len(reduced) <= _STATE or len(reduced[_ARGUMENTS]) <= _CLOSURE:
        return reduced
    arguments = (*reduced[_ARGUMENTS][:_CLOSURE], function.__closure__)
    attributes, slots = reduced[_STATE]
    contents = [
        (cell, content)
        for cell in function.__closure__
        if is_stale is None or not is_stale(cell)
        for content in _content(cell)
    ]
    state = attributes, {**slots, "__closure__": None}, contents
    return reduced[0], arguments, state, None, None, set_function


def set_function(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    """Set the state of a function and the contents of its cells."""
    from cloudpickle import cloudpickle

    attributes, slots, contents = state
    cloudpickle._function_setstate(function, (attributes, slots))  # noqa: SLF001 - cloudpickle's own, 3.0 to 3.1.3
    for cell, content in contents:
        cell.cell_contents = content


def _content(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # an empty cell
        return ()
