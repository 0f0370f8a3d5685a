"""`is_a`: `isinstance` for values of users, whose `__class__` may be user code that fails or lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["is_a"]

if TYPE_CHECKING:
    from builtins import isinstance as is_a  # so that the type checker narrows types
else:

    def is_a(value: object, kinds: Any) -> bool:
        """Whether the type of a value is one of `kinds` or derived from one. Runs no code of the value's class."""
        return issubclass(type(value), kinds)
