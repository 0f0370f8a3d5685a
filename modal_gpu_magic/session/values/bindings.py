"""What a name is bound to, so that another binding can be told from the one that both sides know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modal_gpu_magic.wire.pickles.identity import IdentityTable


def identity(value: Any, table: IdentityTable) -> tuple[str, Any]:
    """What differs for another object, or for another value of a type whose objects have no identity."""
    if token := table.token(value):
        return "token", token
    if type(value) is float:
        return "value", value.hex()
    return ("value", value) if type(value) in _ATOMS else ("object", _Held(value))


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """An object, equal to itself alone."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


_ATOMS = frozenset({int, complex, bool, str, bytes, type(None)})
"""Types whose values a name may be bound to anew without being another."""
