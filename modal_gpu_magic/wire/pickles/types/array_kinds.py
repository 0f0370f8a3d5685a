"""Facts about numpy arrays of all classes: which ones are sent by their memory, and their attributes.

An array of a subclass is sent as its memory, its attributes and its slots. Numpy's own pickles leave the attributes out
and copy the memory.
"""

from __future__ import annotations

import contextlib
import copyreg
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from modal_gpu_magic.wire.pickles.types.instances import set_slots, slots_in
from modal_gpu_magic.wire.pickles.types.members import is_by_statement
from modal_gpu_magic.wire.values.attributes import attributes_of
from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.torch_facts import package_of

if TYPE_CHECKING:
    from collections.abc import Callable

State: TypeAlias = "tuple[dict[str, Any], dict[str, Any]]"
"""The attributes and the slots of an array."""

_OWN_WAYS = ("__reduce__", "__reduce_ex__", "__getstate__")
_BY_NAME = frozenset({"MaskedConstant"})
"""Subclasses of numpy with one object."""

_OF_THIS_PROCESS = {"memmap": frozenset({"_mmap"})}
"""Attributes of numpy's subclasses that are not sent, and that the receiver's array keeps."""


def is_array_kind(kind: type) -> bool:
    """Whether arrays of a class are sent by their memory: `numpy.ndarray`, or a subclass written in Python."""
    base = getattr(sys.modules.get("numpy"), "ndarray", None)
    return base is not None and (kind is base or (issubclass(kind, base) and _is_by_memory(kind, base)))


def _is_by_memory(kind: type, base: type) -> bool:
    if kind in copyreg.dispatch_table or (package_of(kind) == "numpy" and name_of(kind) in _BY_NAME):
        return False
    return all(each in (base, object) or is_by_statement(each) for each in kind.__mro__)


def is_array(value: Any) -> bool:
    """Whether a value is an array that is sent by its memory."""
    return is_array_kind(type(value))


def is_plain_array(value: Any) -> bool:
    """Whether the type of a value is exactly `numpy.ndarray`."""
    return type(value) is getattr(sys.modules.get("numpy"), "ndarray", None)


def plain(array: Any) -> Any:
    """Return an array as `numpy.ndarray` over the same memory, past the methods of its class."""
    return array if is_plain_array(array) else _base().view(array, _base())


def base_of(array: Any) -> Any:
    """Return the object that has an array's memory, past an attribute `base` of its class; None: the array itself."""
    return _base().base.__get__(array)


def has_own_way(kind: type) -> bool:
    """Whether a class, other than numpy's own, says how its arrays are pickled."""
    own = (each for each in kind.__mro__[:-1] if package_of(each) != "numpy")
    return any(name in vars(each) for each in own for name in _OWN_WAYS)


def state_of(array: Any, *, is_fingerprint: bool = False) -> State:
    """Return the attributes and slots of an array to send.

    Args:
        array: the array.
        is_fingerprint: leave out what numpy sets when it shows a masked array: the default fill value.
    """
    unsent = _unsent(type(array))
    attributes = {name: value for name, value in (attributes_of(array) or {}).items() if name not in unsent}
    if is_fingerprint and _has_default_fill(array, attributes):
        attributes["_fill_value"] = None
    return attributes, slots_in(array)


def set_state(array: Any, state: State, *, adds: bool = False) -> None:
    """Set the attributes and slots of an array.

    Args:
        array: the array.
        state: attributes and slots.
        adds: keep other attributes.
    """
    attributes, slots = state
    own = attributes_of(array)
    if own is not None:
        unsent = own.keys() if adds else _unsent(type(array))
        kept = {name: own[name] for name in unsent if name in own}
        own.clear()
        own.update(kept | attributes)
    set_slots(array, slots)


def of_kind(kind: type, make: Callable[..., Any], *arguments: Any) -> Any:
    """Return an array of a class over the memory of the array that `make` returns."""
    array = make(*arguments)
    with contextlib.suppress(Exception):  # a `__array_finalize__` that takes new arrays only
        return array.view(kind)
    return _base().__new__(kind, array.shape, array.dtype, array, 0, array.strides)


def _base() -> Any:
    return sys.modules["numpy"].ndarray


def _unsent(kind: type) -> frozenset[str]:
    names = (each.__name__ for each in kind.__mro__ if package_of(each) == "numpy")
    return frozenset().union(*(_OF_THIS_PROCESS.get(name, ()) for name in names))


def _has_default_fill(array: Any, attributes: dict[str, Any]) -> bool:
    fill = attributes.get("_fill_value")
    if fill is None or array.dtype.names is not None or "_basedict" not in attributes:
        return False
    return bool(fill == sys.modules["numpy"].ma.default_fill_value(array))
