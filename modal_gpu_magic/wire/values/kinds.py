"""Facts about the types of users' values, whose `__class__` or `__module__` may be user code that fails or lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

__all__ = ["is_a", "module_of", "name_of"]

if TYPE_CHECKING:
    from builtins import isinstance as is_a  # so that the type checker narrows types
else:

    def is_a(value: object, kinds: Any) -> bool:
        """Whether the type of a value is one of `kinds` or derived from one. Runs no code of the value's class."""
        return issubclass(type(value), kinds)


_MODULE: Final[Any] = type.__dict__["__module__"]
"""Reads a class's `__module__` past a property of its metaclass."""
_NAME: Final[Any] = type.__dict__["__name__"]
"""Reads a class's `__name__` likewise."""


def module_of(kind: type) -> str:
    """Return the name of a class's module; empty: the class has none, or another object in its place."""
    try:
        name = _MODULE.__get__(kind)
    except AttributeError:
        return ""
    return name if type(name) is str else ""


def name_of(kind: type) -> str:
    """Return the name of a class, whatever its metaclass says."""
    return str(_NAME.__get__(kind))
