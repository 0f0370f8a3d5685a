"""Whether an object of the user's modules has changed since its module was imported.

Pickle finds some objects by the name that their module has for them. The receiver's module has the object as its import
has made it, so that a changed one goes by its content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_checks: Final[list[Callable[[str, str], bool]]] = []


def check_with(check: Callable[[str, str], bool]) -> None:
    """Ask a function, by module and name, whether an object has changed. Without one, none has."""
    _checks[:] = [check]


def is_changed(module: str, name: str) -> bool:
    """Whether the object that a module has under a name goes by its content."""
    return any(check(module, name) for check in _checks)
