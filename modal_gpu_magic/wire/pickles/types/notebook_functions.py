"""Pickle functions of the notebook: their globals are the session's namespace, and shared closure cells stay shared.

cloudpickle gives each function its own globals and cells, so that after `put, get = account()` each would have its own
total. cloudpickle also creates about ten objects per function, which is slow for a graph with a closure per node.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types.cloudpickle_names import submodules_of
from modal_gpu_magic.wire.values.kinds import is_a

if TYPE_CHECKING:
    from collections.abc import Callable

_FACTS = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__")
"""Attributes of a function besides code, globals, cells and `__dict__`."""

_TYPE_PARAMETERS = "__type_params__"
"""Additional attribute of generic functions, from Python 3.12 on."""


class Made:
    """First item of a temporary tuple of a reducer, whose identity does not matter."""


def reduce_notebook_function(
    function: types.FunctionType,
    namespace: dict[str, Any],
    submodules: tuple[types.ModuleType, ...],
    is_stale: Callable[[types.CellType], bool] | None,
) -> tuple[Any, ...]:
    """Return the reduction of a function whose globals are the namespace.

    The cells are arguments; their contents are part of the state, because they may refer to the function.

    Args:
        function: the function.
        namespace: the function's globals, which are not pickled with the function.
        submodules: submodules that the function's code reaches; loading the pickle imports them.
        is_stale: whether the receiver has newer content of a cell, which is then not sent. None: the receiver has none.
    """
    cells = function.__closure__ or ()
    modules = [value for cell in cells if is_a(value := content_of(cell, None), types.ModuleType)]
    if modules:
        submodules += submodules_of(function.__code__, {}, modules)
    state: list[Any] = [Made, submodules, function.__dict__ or None, getattr(function, _TYPE_PARAMETERS, None) or None]
    state += [getattr(function, fact) for fact in _FACTS]
    state[-1] = state[-1] or None  # empty annotations: a new dict for each function
    for cell in cells:
        content = content_of(cell, Made)
        if content is not Made and (is_stale is None or not is_stale(cell)):
            state += (cell, content)
    return make_function, (Made, namespace, function.__code__, *cells), tuple(state), None, None, set_state


def make_function(_: type[Made], namespace: dict[str, Any], code: types.CodeType, *cells: types.CellType) -> Any:
    """Return a function without its state."""
    return types.FunctionType(code, namespace, None, None, cells or None)


def set_state(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    """Set the state of a function and the contents of its cells."""
    _, _, attributes, type_parameters, *rest = state
    if attributes:
        function.__dict__.update(attributes)
    if type_parameters:
        setattr(function, _TYPE_PARAMETERS, type_parameters)
    for fact, value in zip(_FACTS, rest[: len(_FACTS)], strict=True):
        setattr(function, fact, value)
    contents = iter(rest[len(_FACTS) :])
    for cell, content in zip(contents, contents, strict=True):
        cell.cell_contents = content


def content_of(cell: types.CellType, empty: Any) -> Any:
    """Return the content of a cell; `empty` if the cell has no content."""
    try:
        return cell.cell_contents
    except ValueError:
        return empty
