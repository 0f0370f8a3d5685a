"""Plain data: numbers, text, and containers of these, of a size that a setting has."""

from __future__ import annotations

import copy
from typing import Any, Final

MOST_ITEMS: Final = 1000
"""Items in an attribute's value that is still sent: a setting, no data."""
MOST_CHARACTERS: Final = 10_000
"""Characters or bytes of a text in such a value."""

_ATOMS: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
MUTABLE: Final = frozenset({list, set, dict})
"""Types of plain data that a program may change in place."""


def is_plain(value: Any) -> bool:
    """Whether a value is plain data: at most MOST_ITEMS items, no text over MOST_CHARACTERS, no container in itself."""
    waiting, count = [value], 1
    while waiting:
        value = waiting.pop()
        if type(value) in _CONTAINERS:
            count += len(value)
            if count > MOST_ITEMS:
                return False
            waiting += [*value.keys(), *value.values()] if type(value) is dict else value
        elif type(value) not in _ATOMS or (type(value) in (str, bytes) and len(value) > MOST_CHARACTERS):
            return False
    return True


def set_plain(holder: Any, name: str, value: Any) -> None:
    """Set an attribute; a list, a set or a dict keeps its identity, since others may have imported it by name."""
    old: Any = vars(holder).get(name)
    new = copy.deepcopy(value)
    if type(old) is type(new) and type(old) in MUTABLE:
        if type(old) is list:
            old[:] = new
        else:
            old.clear()
            old.update(new)
    else:
        setattr(holder, name, new)
