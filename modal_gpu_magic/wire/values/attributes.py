"""What an instance holds, read past whatever its class makes of attribute access."""

from __future__ import annotations

import copyreg
import functools
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def attributes_of(value: Any) -> dict[str, Any] | None:
    """An instance's `__dict__` itself, whatever its class makes of that name; None: the instance has none."""
    kind = type(value)
    getter = _GETTERS[kind] if kind in _GETTERS else attributes_getter(kind)
    return None if getter is None else getter(value)


def attributes_getter(kind: type) -> Callable[[Any], dict[str, Any] | None] | None:
    """What gives the `__dict__` of a type's instances; None: they have none.

    That of a `partial` is made by looking at it, and from then on its pickle is another one: it counts as none.
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
    """The names of a class's slots, as pickle sees them."""
    return copyreg._slotnames(kind)  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 - pickle's own way
