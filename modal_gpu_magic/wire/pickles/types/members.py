"""Pickle members of the notebook's enums: one object on each side, created without the enum's own `__new__`."""

from __future__ import annotations

from typing import Any

HEAP_TYPE = 1 << 9
"""Bit of `type.__flags__` that is set for a class written in Python, and for some written in C."""
IMMUTABLE_TYPE = 1 << 8
"""Bit of `type.__flags__` that is set for built-in classes: `deque` and ctypes' have both bits from Python 3.12 on."""


def is_by_statement(kind: type) -> bool:
    """Whether a class may be written in Python: a built-in class is not."""
    return kind.__flags__ & (HEAP_TYPE | IMMUTABLE_TYPE) == HEAP_TYPE


def reduce_member(_: Any, member: Any) -> Any:
    """Return the reduction of a member or of a combination of flags."""
    kind = type(member)
    base = built_in_base(kind)
    if base is object:
        arguments: tuple[Any, ...] = ()
    elif hasattr(base, "__getnewargs__"):
        arguments = base.__getnewargs__(member)
    else:
        arguments = base.__reduce_ex__(member, 2)[1]
    state = {"".join(name): value for name, value in member.__dict__.items()}
    return member_from, (kind, member._name_, member._value_, *arguments), state, None, None, set_state


def member_from(kind: Any, name: str | None, value: Any, *arguments: Any) -> Any:
    """Return the member of a name or value; an empty member while the enum itself is being loaded."""
    found = kind.__dict__.get("_member_map_", {}).get(name)
    if found is None and "_value2member_map_" in kind.__dict__:
        found = kind(value)
    return built_in_base(kind).__new__(kind, *arguments) if found is None else found


def set_state(member: Any, state: dict[str, Any]) -> None:
    """Set the attributes of a member, past the `__setattr__` of its class."""
    member.__dict__.update(state)


def built_in_base(kind: type) -> Any:
    """Return the first base written in C, which determines the memory layout and creates empty instances."""
    return next(each for each in kind.__mro__ if not is_by_statement(each))
