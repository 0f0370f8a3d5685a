"""Pickle numpy arrays that share memory: a view is sent as a view if its base is part of the same transfer.

An array that shares its memory with no other array of the transfer is sent by its own content, whatever its base.
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.values.torch_facts import package_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_INNER = frozenset({tuple, list, dict})
_TABLES = frozenset({"DataFrame", "Series"})
"""Types of pandas whose objects a user may have named, also where another object refers to them."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of an array in a stream.

    Attributes:
        root: the array that owns the memory.
        dtype: dtype of the view.
        shape: shape of the view.
        strides: strides of the view, bytes.
        offset: bytes from the start of the memory.
        writeable: whether the view may be written to.
    """

    root: Any
    dtype: Any
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    writeable: bool

    def new(self) -> Any:
        """Create the view."""
        import numpy as np

        memory = self.root if self.root.flags.c_contiguous else self.root.T
        made = np.ndarray(self.shape, self.dtype, memory, self.offset, self.strides)
        if made.flags.writeable and not self.writeable:
            made.flags.writeable = False
        return made

    def is_known_as(self, known: Any) -> bool:
        """Whether an existing array is the same view."""
        return bool(
            root_of(known) is root_of(self.root)
            and known.shape == self.shape
            and known.strides == self.strides
            and known.dtype == self.dtype
            and _offset(known, root_of(known)) == self.offset + _offset(self.root, root_of(self.root))
        )


def root_of(array: Any) -> Any:
    """Return the array that owns an array's memory, or the first array over memory of another object."""
    while is_array(array.base):
        array = array.base
    return array


def is_array(value: Any) -> bool:
    """Whether the type of a value is exactly `numpy.ndarray`."""
    numpy = sys.modules.get("numpy")
    return hasattr(numpy, "ndarray") and type(value) is numpy.ndarray  # type: ignore[union-attr]  # it is loaded


def carriers(arrays: Iterable[Any]) -> dict[int, Any]:
    """Return, by `id` of each array to send as a view, the array of the same memory that it is a view of.

    This is an array that covers the whole memory, if there is one: below a received array is an array of the loader,
    which is not part of the transfer.
    """
    found: dict[int, Any] = {}
    for group in by_root(arrays).values():
        carrier = _carrier(group) if len(group) > 1 else None
        if carrier is not None and is_simple(carrier):
            found.update({id(each): carrier for each in group if each is not carrier and not each.dtype.hasobject})
    return found


def by_root(arrays: Iterable[Any]) -> dict[int, list[Any]]:
    """Return arrays in groups that have one root, by `id` of the root."""
    groups: dict[int, list[Any]] = {}
    for array in {id(array): array for array in arrays}.values():
        groups.setdefault(id(root_of(array)), []).append(array)
    return groups


def _carrier(group: list[Any]) -> Any:
    root = root_of(group[0])
    whole = [each for each in group if each.nbytes == root.nbytes and _offset(each, root) == 0 and is_simple(each)]
    return root if any(each is root for each in group) or not whole else whole[0]


def is_simple(array: Any) -> bool:
    """Whether an array covers its memory without gaps, so that other arrays can be views of it."""
    return bool((array.flags.c_contiguous or array.flags.f_contiguous) and not array.dtype.hasobject)


def view_of(array: Any, carrier: Any) -> View:
    """Return an array as a view of its carrier."""
    return View(carrier, array.dtype, array.shape, array.strides, _offset(array, carrier), array.flags.writeable)


def parts_inside(values: Iterable[Any]) -> set[int]:
    """Return the `id`s of the arrays, indexes and tuples of blocks inside pandas objects.

    Two frames may share an array until one frame is written to, so these arrays must not be updated in place. A tuple
    of blocks is as new as its blocks, which have no identity.
    """
    found: set[int] = set()
    seen: set[int] = set()
    waiting = [value for value in values if _is_of_pandas(value)]
    held: list[Any] = []
    while waiting:
        held += waiting
        inner = gc.get_referents(*waiting)
        waiting = []
        for each in inner:
            if id(each) in seen:
                continue
            seen.add(id(each))
            if is_array(each):
                found.add(id(each))
            elif _is_of_pandas(each) and not isinstance(each, type):
                waiting.append(each)
                if type(each).__name__ not in _TABLES:
                    found.add(id(each))
            elif type(each) in _INNER:
                waiting.append(each)
                if type(each) is tuple and any(map(_is_of_pandas, each)):
                    found.add(id(each))
        held += inner
    return found


def _is_of_pandas(value: Any) -> bool:
    return package_of(type(value)) == "pandas"


def _offset(array: Any, root: Any) -> int:
    return int(array.__array_interface__["data"][0]) - int(root.__array_interface__["data"][0])
