"""Pickle numpy arrays and torch storages that share memory: one is sent as a part of the memory of the other.

`tensor.numpy()` and `torch.from_numpy(array)` make no copies: an object that lies in memory which the receiver has, or
which is in the same stream, becomes a part of that memory on the other side.
"""

from __future__ import annotations

import bisect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types import views
from modal_gpu_magic.wire.pickles.types.views import is_array, is_simple, root_of, view_of
from modal_gpu_magic.wire.values.torch_facts import is_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modal_gpu_magic.wire.pickles.types.views import IndexedView, View


class Blocks:
    """Objects by their memory.

    Args:
        values: numpy arrays or torch storages.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        found = sorted(((*span_of(value), value) for value in values), key=lambda block: (block[0], -block[1]))
        self._groups: list[list[tuple[int, int, Any]]] = []
        """Blocks that overlap, in groups by address."""
        end = 0
        for block in found:
            if not self._groups or block[0] >= end:
                self._groups.append([])
            self._groups[-1].append(block)
            end = max(end, block[1])
        self._starts = [group[0][0] for group in self._groups]

    def __bool__(self) -> bool:
        """Whether an object is among them."""
        return bool(self._groups)

    def around(self, start: int, end: int) -> Iterator[tuple[Any, int]]:
        """Yield the objects whose memory has all addresses from `start` to `end`, the largest first, with its bytes."""
        place = bisect.bisect_right(self._starts, start) - 1
        if place < 0 or end <= start:
            return
        blocks = [block for block in self._groups[place] if block[0] <= start and end <= block[1]]
        for first, last, value in sorted(blocks, key=lambda block: block[0] - block[1]):
            yield value, last - first


class SharedMemory:
    """The memory of the objects of a transfer.

    Args:
        arrays: numpy arrays of the transfer, and those that the receiver has.
        storages: torch storages of the transfer, and those that the receiver has.
        is_known: whether the receiver has an object.
    """

    def __init__(self, arrays: Iterable[Any], storages: Iterable[Any], is_known: Callable[[Any], Any]) -> None:
        self._all_arrays, self._all_storages, self._is_known = arrays, storages, is_known

    @cached_property
    def _arrays(self) -> Blocks:
        return Blocks(filter(_can_hold, self._all_arrays))

    @cached_property
    def _storages(self) -> Blocks:
        return Blocks(self._all_storages)

    def around(self, value: Any) -> Any:
        """Return what an array or a storage is to be sent as a part of; None: it is sent by its own content.

        The smaller memory is a part of the larger one. Of an array and a storage with the same memory, the array is a
        part of the storage if the receiver has the storage, or if the array cannot hold one; else the storage is a part
        of the array. So no object is a part of itself, by way of any others.
        """
        if is_storage(value):
            found = self._first(self._arrays, value, lambda array: self._goes_first(value, array))
            return self._first(self._storages, value, lambda _: False) if found is None else found
        if value.dtype.hasobject:
            return None
        found = self._first(self._storages, value, lambda storage: not self._goes_first(storage, value))
        if found is None and _is_foreign(value):
            found = self._first(self._arrays, value, lambda array: self._is_known(array) and not self._is_known(value))
        return found

    def _goes_first(self, storage: Any, array: Any) -> bool:
        """Whether of a storage and an array with the same memory, the storage is a part of the array."""
        return _can_hold(array) and not self._is_known(storage)

    def _first(self, blocks: Blocks, value: Any, holds_equal: Callable[[Any], Any]) -> Any:
        start, end = span_of(value)
        for around, nbytes in blocks.around(start, end):
            if around is not value and (nbytes > end - start or holds_equal(around)):
                return around
        return None


def _can_hold(array: Any) -> bool:
    """Whether a storage can be made over the whole memory of an array."""
    return bool(is_simple(array) and array.flags.writeable and array.nbytes)


def _is_foreign(array: Any) -> bool:
    """Whether the memory of an array belongs to an object of another kind, such as a tensor."""
    return not (root_of(array).flags.owndata or root_of(array).base is None)


def span_of(value: Any) -> tuple[int, int]:
    """Return the first address of the memory of an array or a storage on the CPU, and the address after the last."""
    if not is_storage(value):
        return views.span_of(value)
    start = int(value.data_ptr()) if value.device.type == "cpu" else 0
    return start, start + (int(value.nbytes()) if start else 0)


def reduce_part(value: Any, around: Any) -> Any:
    """Return the reduction of an array, or of a storage, as a part of the memory of another object."""
    if is_storage(value):
        return storage_over, (around, span_of(value)[0] - span_of(around)[0], value.nbytes())
    if is_array(around):
        return view_over, (view_of(value, around),)
    array, storage = value, around
    offset = int(array.__array_interface__["data"][0]) - span_of(storage)[0]
    return array_over, (storage, array.dtype, array.shape, array.strides, offset, array.flags.writeable)


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

    array = _bytes_of(around) if is_storage(around) else around
    memory = array if array.flags.c_contiguous else array.T
    return torch.from_numpy(memory.reshape(-1).view("uint8")[offset : offset + nbytes]).untyped_storage()
