"""Pickle functions of the notebook without variables: on the other side they have those of that side's notebook."""

from __future__ import annotations

import contextlib
import functools
import pickle
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import Any, Final

from modal_gpu_magic.wire.process.ipython import running_shell
from modal_gpu_magic.wire.process.originals import reduce_original
from modal_gpu_magic.wire.values.kinds import is_a


def closure_of(function: FunctionType) -> dict[int, Any]:
    """Return the contents of a function's closure, by number; those that are not set yet are left out."""
    found = {}
    for number, cell in enumerate(function.__closure__ or ()):
        with contextlib.suppress(ValueError):
            found[number] = cell.cell_contents
    return found


@functools.cache
def pickler() -> Any:
    """Return the class of the pickler, made at the first use: cloudpickle is not imported before."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is published without types
        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is CodeType:
                made, arguments = self.dispatch_table[CodeType](obj)
                return made, with_file(arguments, obj.co_filename)
            if type(obj) in (FunctionType, BuiltinFunctionType):
                original = reduce_original(obj, replaced=True)
                if original is not NotImplemented:
                    return original
            if type(obj) is FunctionType and obj.__globals__ is running_shell().user_ns:
                cells = len(obj.__closure__ or ())
                return function_from, (obj.__code__, obj.__name__, cells), _state(obj), None, None, set_function
            if is_a(obj, type) and obj.__module__ == "__main__":
                raise pickle.PicklingError("a class of the notebook would be another class")
            return super().reducer_override(obj)

    return Pickler


def with_file(arguments: tuple[Any, ...], file: str) -> tuple[Any, ...]:
    """Return the arguments that make code, with the file's name, which tracebacks need and cloudpickle replaces."""
    return tuple(file if argument == _ANY_FILE else argument for argument in arguments)


_ANY_FILE: Final = "<dynamic-code>"


def _state(function: FunctionType) -> tuple[Any, ...]:
    attributes = {name: getattr(function, name) for name in _ATTRIBUTES}
    return attributes, dict(function.__dict__), closure_of(function)


_ATTRIBUTES: Final = ("__defaults__", "__kwdefaults__", "__doc__", "__qualname__", "__module__", "__annotations__")


def function_from(code: Any, name: str, cells: int) -> FunctionType:
    """Return a function with the variables of this side's notebook."""
    closure = tuple(CellType() for _ in range(cells)) if cells else None
    return FunctionType(code, running_shell().user_ns, name, None, closure)


def set_function(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Set the attributes and the closure of a function."""
    attributes, names, contents = state
    for name, value in attributes.items():
        setattr(function, name, value)
    function.__dict__.update(names)
    for number, value in contents.items():
        (function.__closure__ or ())[number].cell_contents = value
