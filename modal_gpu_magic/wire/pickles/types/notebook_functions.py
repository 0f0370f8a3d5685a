"""Functions of the notebook: their globals are the session's namespace, and functions that share a variable share it.

cloudpickle gives each function globals and cells of its own, so that of `put, get = account()` each would keep its own
total. It also makes some ten objects for each function, which counts where a graph has a closure for each node.
"""

from __future__ import annotations

import types
from typing import Any

from modal_gpu_magic.wire.pickles.types.cloudpickle_names import submodules_of

_FACTS = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__")
"""What a function has beside code, globals, cells and attributes."""

_TYPE_PARAMETERS = "__type_params__"
"""What a generic function has beside these, from Python 3.12 on."""


class Made:
    """The first item of a tuple that was made to be pickled: nobody can tell the tuple from a copy."""


def reduce_notebook_function(
    function: types.FunctionType, namespace: dict[str, Any], submodules: tuple[types.ModuleType, ...]
) -> tuple[Any, ...]:
    """The pickle of a function whose globals are the namespace.

    The function is made over its cells, which may refer to it, so their contents come with the state.

    Args:
        function: the function.
        namespace: its globals, which are not pickled with it.
        submodules: those that the function's code reaches; loading the pickle imports them.
    """
    cells = function.__closure__ or ()
    modules = [value for cell in cells if isinstance(value := content_of(cell, None), types.ModuleType)]
    if modules:
        submodules += submodules_of(function.__code__, {}, modules)
    state: list[Any] = [Made, submodules, function.__dict__ or None, getattr(function, _TYPE_PARAMETERS, None) or None]
    state += [getattr(function, fact) for fact in _FACTS]
    state[-1] = state[-1] or None  # annotations: a dict of its own for each function
    for cell in cells:
        content = content_of(cell, Made)
        if content is not Made:
            state += (cell, content)
    return make_function, (Made, namespace, function.__code__, *cells), tuple(state), None, None, set_state


def make_function(_: type[Made], namespace: dict[str, Any], code: types.CodeType, *cells: types.CellType) -> Any:
    """A function without its state."""
    return types.FunctionType(code, namespace, None, None, cells or None)


def set_state(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    """Give a function its state, and its cells their contents."""
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
    """What is in a cell; `empty` if the cell was not filled yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return empty
