"""Identify the value that a name is bound to, to detect a new binding since the last transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modal_gpu_magic.wire.pickles.identity import IdentityTable


def identity(value: Any, table: IdentityTable) -> tuple[str, Any]:
    """A key that differs for another object, or for another value of a type whose objects have no identity."""
    if token := table.token(value):
        return "token", token
    if type(value) is float:
        return "value", value.hex()
    return ("value", value) if type(value) in _ATOMS else ("object", _SameObject(value))


@dataclass(frozen=True, slots=True, eq=False)
class _SameObject:
    """Holds an object; equal only to a holder of the same object."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


_ATOMS = frozenset({int, complex, bool, str, bytes, type(None)})
"""Types whose equal values count as the same binding."""
