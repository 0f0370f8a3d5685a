"""What an instance holds, read past whatever its class makes of attribute access."""

from __future__ import annotations

import copyreg
import functools
import types
from typing import Any


def attributes_of(value: Any) -> dict[str, Any] | None:
    """An instance's `__dict__` itself, whatever its class makes of that name; None: the instance has none.

    That of a `partial` is made by looking at it, and from then on its pickle is another one: it counts as none.
    """
    if isinstance(value, functools.partial):
        return None
    for base in type(value).__mro__:
        found = vars(base).get("__dict__")
        if isinstance(found, types.GetSetDescriptorType | types.MemberDescriptorType):
            attributes = found.__get__(value)
            return attributes if type(attributes) is dict else None
    return None


def slots_of(kind: type) -> list[str]:
    """The names of a class's slots, as pickle sees them."""
    return copyreg._slotnames(kind)  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 - pickle's own way
