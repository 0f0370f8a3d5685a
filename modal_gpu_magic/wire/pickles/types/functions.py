"""Functions that cloudpickle does not take whole: generic functions by type, and type parameters (Python 3.12)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types import cloudpickle_names

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

_BY_TYPE = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]  # it is a function
"""The code of every function that `functools.singledispatch` makes."""

_ITS_OWN = frozenset({"register", "dispatch", "registry", "_clear_cache", "__wrapped__"})
"""Attributes that such a function has from the start; two of them hold weak references."""

_STATE = 2
"""Where the state is in what cloudpickle makes of a function: attributes, and slots."""


def reduce_function(_: Any, function: types.FunctionType) -> Any:
    """The pickle of one of these functions if it is the notebook's; NotImplemented for all others."""
    if function.__code__ is _BY_TYPE and not cloudpickle_names.goes_by_name(function):
        return _reduce_generic(function)
    return NotImplemented


def _reduce_generic(function: Any) -> Any:
    attributes = {"".join(name): value for name, value in function.__dict__.items() if name not in _ITS_OWN}
    registry = [(kind, made) for kind, made in function.registry.items()]
    state = (registry, attributes, function.__name__, function.__qualname__, function.__module__, function.__doc__)
    return generic_from, (function.__wrapped__,), state, None, None, set_generic


def generic_from(default: Callable[..., Any]) -> Any:
    """A generic function that has its default only."""
    return functools.singledispatch(default)


def set_generic(function: Any, state: tuple[Any, ...]) -> None:
    """Register all functions that were registered for a type."""
    registry, attributes, *names = state
    for kind, made in registry:
        function.register(kind, made)
    function.__dict__.update(attributes)
    function.__name__, function.__qualname__, function.__module__, function.__doc__ = names
