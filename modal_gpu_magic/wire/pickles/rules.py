"""Choose the reducer of a type: once for each type and pickler, so that each object costs one dict lookup."""

from __future__ import annotations

import builtins
import enum
import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

from modal_gpu_magic.wire.pickles.types import cloudpickle_names, tensors
from modal_gpu_magic.wire.pickles.types.added_attributes import may_leave_out, reduce_with_added
from modal_gpu_magic.wire.pickles.types.argument_parsers import is_parser_part, reduce_parser_part
from modal_gpu_magic.wire.pickles.types.array_kinds import is_array_kind
from modal_gpu_magic.wire.pickles.types.arrays import reduce_kind
from modal_gpu_magic.wire.pickles.types.classes import reduce_class
from modal_gpu_magic.wire.pickles.types.compiled import is_context, reduce_context
from modal_gpu_magic.wire.pickles.types.computed import ModuleReducer, is_module
from modal_gpu_magic.wire.pickles.types.data_loaders import is_loader, reduce_loader
from modal_gpu_magic.wire.pickles.types.exceptions import reduce_exception
from modal_gpu_magic.wire.pickles.types.figures import is_figure, is_registry, reduce_figure, reduce_registry
from modal_gpu_magic.wire.pickles.types.functions import reduce_function
from modal_gpu_magic.wire.pickles.types.instances import needs_care, reduce_instance
from modal_gpu_magic.wire.pickles.types.log_handlers import is_handler, is_logger, reduce_handler, reduce_logger
from modal_gpu_magic.wire.pickles.types.members import is_by_statement, reduce_member
from modal_gpu_magic.wire.pickles.types.module_objects import is_of_user, reduce_module_object
from modal_gpu_magic.wire.pickles.types.optimizers import is_optimizer, reduce_optimizer
from modal_gpu_magic.wire.pickles.types.parametrized import is_parametrized, reduce_module
from modal_gpu_magic.wire.pickles.types.rebuilt import is_scalar_kind, reduce_scalar
from modal_gpu_magic.wire.pickles.types.widgets import is_widget, reduce_widget
from modal_gpu_magic.wire.values.kinds import module_of

Reducer = Callable[[Any, Any], Any]


class Rules(dict[type, "Reducer | None"]):
    """Reducers by exact type; a missing type is looked up in the rules. None: pickle's own rules apply."""

    def __missing__(self, kind: type) -> Reducer | None:
        self[kind] = found = _reducer_of(kind)
        return found

    def __contains__(self, kind: object) -> bool:
        """Whether a type has a reducer."""
        return isinstance(kind, type) and self[kind] is not None

    def are_pickles(self, kind: type) -> bool:
        """Whether the state of a type's objects is the one in their own pickles, apart from added attributes."""
        reducer = self[kind]
        return (reducer.reducer if isinstance(reducer, ModuleReducer) else reducer) in _AS_PICKLES

    get = dict.__getitem__  # type: ignore[assignment]  # `get` applies the rules as well


def _reducer_of(kind: type) -> Reducer | None:
    found = _own_reducer(kind)
    return ModuleReducer(found) if is_module(kind) else found


def _own_reducer(kind: type) -> Reducer | None:
    for matches, reducer in _RULES:
        if matches(kind):
            return reducer
    if isinstance(kind, enum.EnumMeta):
        return None if cloudpickle_names.goes_by_name(kind) else reduce_member
    if issubclass(kind, property):
        return _reduce_property if kind is not property and needs_reduce(kind) else None
    of_tensor = tensors.reducer_of(kind)
    if of_tensor is not None:
        return of_tensor
    if needs_care(kind):
        return reduce_instance
    return _by_name(kind) or (reduce_with_added if may_leave_out(kind) else None)


def _reduce_module_by_name(pickler: Any, module: Any) -> Any:
    """Pickle a module of a subclass, such as `torch._dynamo.config`, as cloudpickle pickles an ordinary module."""
    name = str(module.__name__)
    if sys.modules.get(name) is not module:
        return NotImplemented
    pickler.modules.add(name)
    return importlib.import_module, (name,)


_RULES: tuple[tuple[Callable[[type], bool], Reducer], ...] = (
    (lambda kind: issubclass(kind, type), reduce_class),
    (lambda kind: kind is types.FunctionType, reduce_function),
    (lambda kind: issubclass(kind, BaseException), reduce_exception),
    (lambda kind: issubclass(kind, types.ModuleType) and kind is not types.ModuleType, _reduce_module_by_name),
    (is_widget, reduce_widget),
    (is_optimizer, reduce_optimizer),
    (is_loader, reduce_loader),
    (is_context, reduce_context),
    (is_array_kind, reduce_kind),
    (is_scalar_kind, reduce_scalar),
    (is_parametrized, reduce_module),
    (is_parser_part, reduce_parser_part),
    (is_handler, reduce_handler),
    (is_logger, reduce_logger),
    (is_registry, reduce_registry),
    (is_figure, reduce_figure),
)
"""Predicates and reducers; the first match applies."""

_AS_PICKLES = (None, reduce_with_added, reduce_registry, reduce_figure)
"""Reducers whose state is the one that the class takes."""


def _by_name(kind: type) -> Reducer | None:
    """Return a reducer by name for a library's markers such as `dataclasses.MISSING`, which are compared by `is`."""
    module = vars(sys.modules.get(module_of(kind), builtins))
    if not is_by_statement(kind) or not needs_reduce(kind) or module is vars(builtins) or module_of(kind) == "__main__":
        return None
    names = {id(value): name for name, value in list(module.items()) if type(value) is kind}
    if names and is_of_user(kind):
        return lambda pickler, value: reduce_module_object(pickler, value, names)
    return (lambda _, value: names.get(id(value), NotImplemented)) if names else None


def needs_reduce(kind: Any) -> bool:
    """Whether a class has no `__reduce__` of its own."""
    return kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__


def _reduce_property(_: Any, value: Any) -> Any:
    functions = (value.fget, value.fset, value.fdel, value.__doc__)
    return property_from, (type(value), functions), dict(getattr(value, "__dict__", {})), None, None, set_attributes


def property_from(kind: type, functions: tuple[Any, ...]) -> Any:
    """Return a property of a subclass without calling its `__init__`, which may take other arguments."""
    made: Any = property.__new__(kind)
    property.__init__(made, *functions)
    return made


def set_attributes(value: Any, attributes: dict[str, Any]) -> None:
    """Set the attributes that a subclass of `property` has in addition to its functions."""
    if attributes:
        value.__dict__.update(attributes)
