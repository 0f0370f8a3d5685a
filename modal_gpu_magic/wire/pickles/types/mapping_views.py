"""Pickle views of dicts with the dict: `d.keys()` and a `MappingProxyType` show their dict on both sides."""

from __future__ import annotations

import collections
import gc
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MAKERS: dict[str, Callable[[Any], Any]] = {
    "dict_keys": dict.keys,
    "dict_values": dict.values,
    "dict_items": dict.items,
    "odict_keys": collections.OrderedDict.keys,
    "odict_values": collections.OrderedDict.values,
    "odict_items": collections.OrderedDict.items,
    "mappingproxy": types.MappingProxyType,
}
"""Functions that make a view of a mapping, by the name of the view's type."""

MAPPING_VIEWS = frozenset(type(make(collections.OrderedDict())) for make in _MAKERS.values())
"""The types of the views."""


def mapping_of(view: Any) -> Any:
    """Return the mapping that a view shows; None: the namespace of a class, which belongs to the class."""
    (mapping,) = gc.get_referents(view)
    can_be_of_class = type(view) is types.MappingProxyType and type(mapping) is dict
    return None if can_be_of_class and "__doc__" in mapping and "__name__" not in mapping else mapping


def reduce_mapping_view(_: Any, view: Any) -> Any:
    """Return the reduction of a view."""
    mapping = mapping_of(view)
    return NotImplemented if mapping is None else (view_of_mapping, (type(view).__name__, mapping))


def view_of_mapping(name: str, mapping: Any) -> Any:
    """Return a view of a mapping, by the name of the view's type."""
    return _MAKERS[name](mapping)


def is_view_of_same(old: Any, new: Any) -> bool:
    """Whether two views show one mapping."""
    return mapping_of(old) is mapping_of(new) is not None
