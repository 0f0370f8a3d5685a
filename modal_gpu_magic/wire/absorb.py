"""Writing an arriving value into the object that is here already, so that everything that refers to it sees the change.

Right for a value that was changed in place over there, and only for that: a name bound to something new over there
must be bound to something new here. Nested values are replaced, not written into. One copy at most is made.
"""

from __future__ import annotations

import collections
import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.tensors import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable


def absorb(old: Any, new: Any) -> bool:
    """Write the content of `new` into `old`. False if that cannot be done; then nothing was written.

    Both must be of exactly the same type: a container of the standard library, a bytearray, a numpy array of the same
    shape and dtype that may be written to, or a torch tensor of the same shape, dtype and device.
    """
    if old is new:
        return True
    if type(old) is not type(new):
        return False
    write = CONTAINERS.get(type(old)) or _leaf_writer(old)
    return write is not None and write(old, new)


def can_be_written(value: Any) -> bool:
    """Whether a value is of a kind that `absorb` writes into, and whose content is no other object's."""
    if type(value) is collections.deque:
        return value.maxlen is None  # an empty one of the same length cannot be made before its content is known
    return type(value) in CONTAINERS or _leaf_writer(value) is not None


def _list(old: list[Any], new: list[Any]) -> bool:
    old[:] = new
    return True


def _replace(old: Any, new: Any) -> bool:
    """A dict, a set, and their kin."""
    old.clear()
    old.update(new)
    return True


def _deque(old: collections.deque[Any], new: collections.deque[Any]) -> bool:
    if old.maxlen != new.maxlen:
        return False
    old.clear()
    old.extend(new)
    return True


def _default_dict(old: collections.defaultdict[Any, Any], new: collections.defaultdict[Any, Any]) -> bool:
    old.default_factory = new.default_factory
    return _replace(old, new)


def _bytearray(old: bytearray, new: bytearray) -> bool:
    try:
        old[:] = new
    except BufferError:  # another length, and somebody holds a view of it
        return False
    return True


def _array(old: Any, new: Any) -> bool:
    if old.shape != new.shape or old.dtype != new.dtype or not old.flags.writeable:
        return False
    old[...] = new
    return True


def _tensor(old: Any, new: Any) -> bool:
    torch = sys.modules["torch"]
    if old.shape != new.shape or old.dtype != new.dtype or old.device != new.device:
        return False
    expanded = old.numel() > 1 and 0 in old.stride()  # several elements in one place
    if not (is_plain(new) and old.is_leaf) or old.is_inference() or expanded:
        return False
    with torch.no_grad():
        old.copy_(new)
    old.requires_grad_(new.requires_grad)
    old.grad = new.grad
    return True


def _leaf_writer(value: Any) -> Callable[[Any, Any], bool] | None:
    numpy = sys.modules.get("numpy")
    if type(value) is bytearray:
        return _bytearray
    if numpy is not None and type(value) is numpy.ndarray:
        return None if value.dtype.hasobject else _array
    return _tensor if is_plain(value) else None


CONTAINERS: dict[type, Callable[[Any, Any], bool]] = {
    list: _list,
    dict: _replace,
    set: _replace,
    collections.deque: _deque,
    collections.OrderedDict: _replace,
    collections.defaultdict: _default_dict,
    collections.Counter: _replace,
}
"""What writes into a container, by its exact type."""
