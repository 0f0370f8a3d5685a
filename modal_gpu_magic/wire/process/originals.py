"""The functions that cells have replaced in libraries: `_load = torch.load; torch.load = load` keeps the original.

The name of such a function denotes the replacement, so the function is pickled as the original of its place.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.kinds import is_a

if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING: Final = object()
"""Stands for an attribute that does not exist."""

_places: Final[list[Mapping[str, tuple[str, str]]]] = []
"""The places of libraries and classes that cells have set, by key (`Assignments.bound`)."""
_originals: Final[dict[str, Any]] = {}


def follow(places: Mapping[str, tuple[str, str]]) -> None:
    """Regard these places as replaced, those that are added later included."""
    _places[:] = [places]


def holder_of(name: str) -> Any:
    """Return the module or the class of a name `MODULE[:CLASS]`; None: it does not exist here."""
    module, _, names = name.partition(":")
    found: Any = sys.modules.get(module)
    for each in names.split(".") if names else ():
        found = None if found is None else vars(found).get(each)
    return found if is_a(found, ModuleType | type) else None


def value_at(holder: str, name: str) -> Any:
    """Return what an attribute is bound to now, or MISSING."""
    found = holder_of(holder)
    return MISSING if found is None else attribute_of(found, name)


def attribute_of(holder: Any, name: str) -> Any:
    """Return an attribute that a module or a class itself has, or MISSING.

    A module of a class that sets attributes in a way of its own has its settings elsewhere: `torch._dynamo.config`.
    """
    found = vars(holder).get(name, MISSING)
    return getattr(holder, name, MISSING) if found is MISSING and has_own_settings(holder) else found


def has_own_settings(holder: Any) -> bool:
    """Whether attributes of a module are settings, which its class keeps in a way of its own."""
    return is_a(holder, ModuleType) and type(holder).__setattr__ is not ModuleType.__setattr__


def note_original(key: str, value: Any) -> None:
    """Note what a place held before its replacement."""
    _originals[key] = value


def reduce_original(function: Any, *, replaced: bool = False) -> Any:
    """Return the reduction of a library's function in whose place cells have set another; NotImplemented for others.

    Args:
        function: a function, which may be in its place again.
        replaced: whether the other side may have another function in the place of one that is in its place here.
    """
    if not _places or not _places[0]:
        return NotImplemented
    outer, _, name = str(getattr(function, "__qualname__", "")).rpartition(".")
    module = getattr(function, "__module__", None)
    key = f"{module}:{outer} {name}" if outer else f"{module} {name}"
    if module == "__main__" or key not in _places[0]:
        return NotImplemented
    if not replaced and value_at(*key.split(" ", 1)) is function:
        return NotImplemented
    note_original(key, function)
    return original_of, (key,)


def original_of(key: str) -> Any:
    """Return what a place of this process held before its first replacement.

    Raises:
        ImportError: this process does not have the module.
        AttributeError: the module does not have the attribute.
    """
    holder, name = key.split(" ", 1)
    importlib.import_module(holder.partition(":")[0])
    found = _originals.get(key, MISSING)
    found = value_at(holder, name) if found is MISSING else found
    if found is MISSING:
        raise AttributeError(f"{holder.replace(':', '.')} has no attribute {name!r}")
    return found
