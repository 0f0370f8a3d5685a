"""Pickle numpy arrays and torch storages that share memory: one is sent as a part of the memory of the other.

`tensor.numpy()` and `torch.from_numpy(array)` make no copies: an object that lies in memory which the receiver has, or
which is in the same stream, becomes a part of that memory on the other side.
"""

from __future__ import annotations

import bisect
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types import views
from modal_gpu_magic.wire.pickles.types.array_kinds import plain
from modal_gpu_magic.wire.pickles.types.arrays import as_kind
from modal_gpu_magic.wire.pickles.types.views import is_simple, root_of, view_of
from modal_gpu_magic.wire.values.torch_facts import is_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from modal_gpu_magic.wire.pickles.types.views import IndexedView, View

    Block: TypeAlias = tuple[int, int, Any]
    """The first address of an object's memory, the address after the last, the object."""


class SharedMemory:
    """The memory of the objects of a transfer.

    Args:
        arrays: numpy arrays of the transfer, and those that the receiver has.
        storages: torch storages of the transfer, and those that the receiver has.
        is_known: whether the receiver has an object.
    """

    def __init__(self, arrays: Iterable[Any], storages: Iterable[Any], is_known: Callable[[Any], Any]) -> None:
        self._arrays, self._storages, self._is_known = arrays, storages, is_known

    def around(self, value: Any) -> Any:
        """Return what an array or a storage is to be sent as a part of; None: it is sent by its own content.

        The smaller memory is a part of the larger one. Of an array and a storage with the same memory, the array is a
        part of the storage if the receiver has the storage, or if the array cannot hold one; else the storage is a part
        of the array. Of two storages, or two arrays, the one that the receiver lacks is a part of the other one. So no
        object is a part of itself, by way of any others.
        """
        start, end = span_of(value)
        covering = [each for each in self._blocks_at(start) if each[1] >= end and each[2] is not value]
        if not covering or start == end:
            return None
        can_be_of_array = is_storage(value) or _is_foreign(value)
        for first, last, each in sorted(covering, key=_by_size):
            if last - first == end - start:
                if self._is_around_equal(each, value):
                    return each
            elif is_storage(each) or can_be_of_array:
                return each
        return None

    def _is_around_equal(self, one: Any, other: Any) -> bool:
        """Whether of two objects with the same memory, the second is a part of the first."""
        if is_storage(one) and not is_storage(other):
            return bool(self._is_known(one) or not _can_hold(other))
        if self._is_known(other):
            return False
        if is_storage(other) and not self._is_known(one):
            return not is_storage(one) or id(one) < id(other)
        return bool(self._is_known(one) and (is_storage(other) or _is_foreign(other)))

    def _blocks_at(self, address: int) -> list[Block]:
        """Return the blocks that begin at an address or before, of those that overlap around it."""
        starts, groups = self._groups
        place = bisect.bisect_right(starts, address) - 1
        return [block for block in groups[place] if block[0] <= address] if place >= 0 else []

    @cached_property
    def _groups(self) -> tuple[list[int], list[list[Block]]]:
        """The blocks of all objects, in groups that overlap, with the first address of each group."""
        blocks = [(*span_of(each), each) for each in (*filter(_can_hold, self._arrays), *self._storages)]
        groups: list[list[Block]] = []
        end = 0
        for block in sorted(blocks, key=itemgetter(0)):
            if not groups or block[0] >= end:
                groups.append([])
            groups[-1].append(block)
            end = max(end, block[1])
        return [group[0][0] for group in groups], groups


def _by_size(block: Block) -> int:
    """Return the sort key of a block: the largest comes first."""
    return block[0] - block[1]


class Spans:
    """The memory of objects, to find those that overlap with others.

    Args:
        values: numpy arrays and torch storages.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = values

    @cached_property
    def _blocks(self) -> list[Block]:
        return sorted(((*span_of(each), each) for each in self._values), key=itemgetter(0))

    def overlapping(self, others: Iterable[Any]) -> list[Any]:
        """Return the objects whose memory overlaps with that of others."""
        merged: list[list[int]] = []
        for start, end in sorted(map(span_of, others)):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        found, place = [], 0
        for start, end, each in self._blocks:
            while place < len(merged) and merged[place][1] <= start:
                place += 1
            if place < len(merged) and start < end and merged[place][0] < end:
                found.append(each)
        return found


def _can_hold(array: Any) -> bool:
    """Whether a storage can be made over the whole memory of an array."""
    return bool(is_simple(array) and array.flags.writeable and array.nbytes)


def _is_foreign(array: Any) -> bool:
    """Whether the memory of an array belongs to an object of another kind, such as a tensor."""
    return not (root_of(array).flags.owndata or root_of(array).base is None)


def span_of(value: Any) -> tuple[int, int]:
    """Return the first address of the memory of an array or a storage, and the address after the last.

    The addresses of a GPU's memory are none of the host's; a storage on `meta` has no memory.
    """
    if not is_storage(value):
        return views.span_of(value)
    start = value.data_ptr()
    return start, start + (value.nbytes() if start else 0)


def reduce_part(pickler: Any, value: Any, around: Any) -> Any:
    """Return the reduction of an array, or of a storage, as a part of the memory of another object."""
    if is_storage(value):
        return storage_over, (around, span_of(value)[0] - span_of(around)[0], value.nbytes())
    if not is_storage(around):
        return as_kind(pickler, value, view_over, (view_of(value, around),))
    array, storage = plain(value), around
    offset = int(array.__array_interface__["data"][0]) - span_of(storage)[0]
    over = storage, array.dtype, array.shape, array.strides, offset, array.flags.writeable
    return as_kind(pickler, value, array_over, over)


def array_over(
    storage: Any,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    writeable: bool,  # noqa: FBT001 - a pickle passes arguments by position
) -> Any:
    """Return an array over a part of a storage's memory."""
    import numpy as np

    array: Any = np.ndarray(shape, dtype, _bytes_of(storage), offset, strides)
    if not writeable:
        array.flags.writeable = False
    return array


def _bytes_of(storage: Any) -> Any:
    """Return a storage's memory as an array of bytes."""
    import torch

    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy()


def view_over(view: View | IndexedView) -> Any:
    """Return a view of an array."""
    return view.new()


def storage_over(around: Any, offset: int, nbytes: int) -> Any:
    """Return a storage over a part of the memory of an array or a storage: `offset` and `nbytes` are in bytes."""
    import torch

    array = _bytes_of(around) if is_storage(around) else plain(around)
    memory = array if array.flags.c_contiguous else array.T
    return torch.from_numpy(memory.reshape(-1).view("uint8")[offset : offset + nbytes]).untyped_storage()
