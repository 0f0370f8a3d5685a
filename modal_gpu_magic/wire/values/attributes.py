"""Read the attributes of an instance without the attribute hooks of its class."""

from __future__ import annotations

import copyreg
import functools
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def attributes_of(value: Any) -> dict[str, Any] | None:
    """Return the `__dict__` of an instance, past a class attribute of that name; None: the instance has none."""
    kind = type(value)
    getter = _GETTERS[kind] if kind in _GETTERS else attributes_getter(kind)
    return None if getter is None else getter(value)


def attributes_getter(kind: type) -> Callable[[Any], dict[str, Any] | None] | None:
    """Return the function that reads `__dict__` of a type's instances; None: the instances have none.

    None for `functools.partial` as well: reading its `__dict__` creates the dict, which changes its pickle.
    """
    getter = None
    if not issubclass(kind, functools.partial):
        found = next((vars(base)["__dict__"] for base in kind.__mro__ if "__dict__" in vars(base)), None)
        if isinstance(found, types.GetSetDescriptorType | types.MemberDescriptorType):
            getter = found.__get__
    _GETTERS[kind] = getter
    return getter


_GETTERS: dict[type, Callable[[Any], Any] | None] = {}


def slots_of(kind: type) -> list[str]:
    """Return the names of a class's slots, as pickle finds them."""
    return copyreg._slotnames(kind)  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 - the function that pickle uses


def tells_all(kind: type) -> bool:
    """Whether a pickle of an instance has all attributes; a `__getstate__` of the class may leave some out."""
    return not any({"__getstate__", "__reduce__", "__reduce_ex__"} & vars(base).keys() for base in kind.__mro__[:-1])
