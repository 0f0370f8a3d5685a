"""Pickle objects whose class has no pickle that can be loaded, each as what makes the object again."""

from __future__ import annotations

import pickle
import random
import struct
import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types.added_attributes import add
from modal_gpu_magic.wire.pickles.types.members import built_in_base, is_by_statement
from modal_gpu_magic.wire.values.attributes import attributes_of

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_SYS = ("version_info", "flags", "float_info", "hash_info", "int_info", "thread_info")
"""Facts of `sys` whose types make no second object."""


def rebuilt_types() -> dict[type, Callable[[Any, Any], Any]]:
    """Return the reducers by type. numpy's types are included only if numpy is imported."""
    found: dict[type, Callable[[Any, Any], Any]] = dict(_ALWAYS)
    numpy = sys.modules.get("numpy")
    for name in ("finfo", "iinfo"):
        if (kind := getattr(numpy, name, None)) is not None:
            found[kind] = lambda _, limits: (type(limits), (limits.dtype,))
    return found


def is_scalar_kind(kind: type) -> bool:
    """Whether a class is a subclass of one of numpy's scalars, which numpy's own pickle turns into the scalar."""
    scalar = getattr(sys.modules.get("numpy"), "generic", None)
    return scalar is not None and issubclass(kind, scalar) and is_by_statement(kind)


def reduce_scalar(_: Any, value: Any) -> tuple[Any, ...]:
    """Return the reduction of an instance of such a subclass: class, number, attributes."""
    number = sys.modules["numpy"].asarray(value)[()]
    attributes = attributes_of(value) or None
    return scalar_from, (type(value), number), attributes, None, None, add  # numpy's own `__setstate__` ignores them


def scalar_from(kind: type, number: Any) -> Any:
    """Return an instance without calling the `__new__` of its class, which may take other arguments."""
    return built_in_base(kind).__new__(kind, number)


def fact_of_sys(name: str, content: tuple[Any, ...]) -> Any:
    """Return the fact of this process.

    Raises:
        pickle.UnpicklingError: the fact of this process is another one.
    """
    found = getattr(sys, name)
    if tuple(found) != content:
        raise pickle.UnpicklingError(f"sys.{name} is {tuple(found)} where the value is needed")
    return found


def _fact(_: Any, value: Any) -> Any:
    name = type(value).__name__
    return fact_of_sys, (name, tuple(value))


_ALWAYS: dict[type, Callable[[Any, Any], Any]] = {
    struct.Struct: lambda _, layout: (struct.Struct, (layout.format,)),
    random.SystemRandom: lambda _, __: (random.SystemRandom, ()),
    **{type(getattr(sys, name)): _fact for name in _OF_SYS},
}
