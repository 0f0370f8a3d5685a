"""Members of the notebook's enums: the same objects on both sides, and never made by the enum's own `__new__` again."""

from __future__ import annotations

from typing import Any

HEAP_TYPE = 1 << 9
"""Bit of `type.__flags__` of a class that is written in Python."""


def reduce_member(_: Any, member: Any) -> Any:
    """The pickle of a member, or of a combination of flags."""
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
    """The member of that name or value; a bare one while the enum itself is being made."""
    found = kind.__dict__.get("_member_map_", {}).get(name)
    if found is None and "_value2member_map_" in kind.__dict__:
        found = kind(value)
    return built_in_base(kind).__new__(kind, *arguments) if found is None else found


def set_state(member: Any, state: dict[str, Any]) -> None:
    """Give a member its attributes, whatever its class does with an assignment."""
    member.__dict__.update(state)


def built_in_base(kind: type) -> Any:
    """The first base that is written in C: how an instance is laid out, and what makes an empty one."""
    return next(each for each in kind.__mro__ if not each.__flags__ & HEAP_TYPE)
