"""Pickle functions that cloudpickle pickles incompletely, or not at all: generic ones of `functools`, compiled ones."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types import cloudpickle_names
from modal_gpu_magic.wire.pickles.types.compiled import is_compiled, reduce_compiled
from modal_gpu_magic.wire.pickles.types.module_functions import named_global, place_of
from modal_gpu_magic.wire.process.originals import reduce_original

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from modal_gpu_magic.wire.pickles.protocol import Pickler

_BY_TYPE = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]  # the result is a function
"""The code object of every function that `functools.singledispatch` creates."""

_ITS_OWN = frozenset({"register", "dispatch", "registry", "_clear_cache", "__wrapped__"})
"""Attributes that `singledispatch` sets itself; two of them contain weak references."""

_CACHE = "_method_cache"
"""Attribute of a generic method: bound methods by their instances."""

_STATE = 2
"""Where the state is in what cloudpickle makes of a function: attributes, and slots."""


def reduce_function(pickler: Pickler, function: types.FunctionType) -> Any:
    """Return the reduction of a generic or compiled function of the notebook, or of one that a cell has replaced.

    Also of a function that a module has under another name than its own. NotImplemented for all others.
    """
    if is_compiled(function):
        return reduce_compiled(function)
    original = reduce_original(function)
    if original is not NotImplemented:
        return original
    if cloudpickle_names.goes_by_name(function):
        return NotImplemented
    place = place_of(function)
    if place is not None:
        pickler.modules.add(place[0])
        return named_global, place
    return _reduce_generic(function) if function.__code__ is _BY_TYPE else NotImplemented


def _reduce_generic(function: Any) -> Any:
    attributes = {"".join(name): value for name, value in function.__dict__.items() if name not in _ITS_OWN}
    registry = [(kind, made) for kind, made in function.registry.items()]
    state = (registry, attributes, function.__name__, function.__qualname__, function.__module__, function.__doc__)
    return generic_from, (function.__wrapped__,), state, None, None, set_generic


def reduce_generic_method(_: Any, method: functools.singledispatchmethod[Any]) -> Any:
    """Return the reduction of a generic method without its cache, which has weak references from Python 3.13 on."""
    state = {"".join(name): value for name, value in vars(method).items() if name not in ("func", _CACHE)}
    return functools.singledispatchmethod, (method.func,), state, None, None, set_generic_method


def set_generic_method(method: Any, state: dict[str, Any]) -> None:
    """Set the function that dispatches, and other attributes of a generic method."""
    vars(method).update(state)


def generic_from(default: Callable[..., Any]) -> Any:
    """Return a generic function that has only its default implementation."""
    return functools.singledispatch(default)


def set_generic(function: Any, state: tuple[Any, ...]) -> None:
    """Register the implementations, and set attributes and names of the function."""
    registry, attributes, *names = state
    for kind, made in registry:
        function.register(kind, made)
    function.__dict__.update(attributes)
    function.__name__, function.__qualname__, function.__module__, function.__doc__ = names
