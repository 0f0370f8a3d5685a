"""Pickle numpy arrays: the memory goes out of band whatever the strides, and repeated elements are sent once.

`numpy.broadcast_to(x, (10**10,))` sends one element, and sliding windows over an array send the array. A read-only
array stays read-only.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from modal_gpu_magic.wire.pickles.types.array_kinds import (
    has_own_way,
    is_plain_array,
    of_kind,
    plain,
    set_state,
    state_of,
)

_REGISTERED = 2
"""Value of `dtype.isbuiltin` for a dtype that a library has registered with numpy."""

OWNED_BYTES = 8 << 20
"""Arrays up to this size are copied out of the buffer that they came in (4 ms). A larger one lies in the buffer."""

_WORD_BYTES = (1, 2, 4, 8)


def reduce_array(pickler: Any, array: Any) -> Any:
    """Return the reduction of an array."""
    if any(_fixed(array)):
        return _reduce_repeated(array)
    dtype = array.dtype
    if dtype.hasobject:
        return _reduce_objects(pickler, array)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        if extent(array) < array.nbytes:
            return _reduce_overlapping(pickler, array)
        array = _copy(pickler, array)
    if dtype.kind in "mM" or (dtype.isbuiltin == _REGISTERED and dtype.itemsize in _WORD_BYTES):
        return array_of, (array.view(f"u{dtype.itemsize}"), dtype)  # the buffer protocol does not support such a dtype
    make, arguments, *rest = array.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    return (make, arguments, *rest) if rest else (owning, (make, *arguments))


def owning(make: Any, *arguments: Any) -> Any:
    """Return the array that numpy makes over a buffer, with its own memory: `resize` needs that."""
    return _owner(make(*arguments))


def _owner(over: Any) -> Any:
    """Return an array of the same content that owns its memory, if the array is small."""
    if over.nbytes > OWNED_BYTES:
        return over
    array = over.copy(order="K")
    array.flags.writeable = over.flags.writeable
    return array


def reduce_kind(pickler: Any, array: Any) -> Any:
    """Return the reduction of an array of a subclass: its memory, its attributes and its slots.

    A class that pickles in its own way may leave attributes out that cannot be pickled.
    """
    if has_own_way(type(array)) and not (pickler.is_trial or pickler.travels(state_of(array))):
        return NotImplemented
    base = plain(array)
    if base.dtype.hasobject:
        return _reduce_objects(pickler, array)
    return as_kind(pickler, array, *reduce_array(pickler, base))


def as_kind(pickler: Any, array: Any, make: Any, arguments: tuple[Any, ...]) -> Any:
    """Return the reduction of an array of any class from the reduction of its memory."""
    if is_plain_array(array):
        return make, arguments
    state = state_of(array, is_fingerprint=pickler.is_fingerprint)
    return of_kind, (type(array), make, *arguments), state, None, None, set_state


def extent(array: Any) -> int:
    """Return the number of bytes from an array's lowest address in memory to its highest."""
    reach = sum(abs(stride) * (count - 1) for stride, count in zip(array.strides, array.shape, strict=True))
    return int(reach + array.itemsize) if array.size else 0


def sent_bytes(array: Any) -> int:
    """Return the number of bytes that are sent for an array, without the Python objects in it."""
    if any(_fixed(array)):
        return sent_bytes(_one_of_each(array))
    return min(extent(array), int(array.nbytes))


def array_of(words: Any, dtype: Any) -> Any:
    """Return an array of dates, or of a library's number type (bfloat16), from its memory as integers."""
    return _owner(words.view(dtype))


def repeated(small: Any, shape: tuple[int, ...], fixed: tuple[bool, ...], writeable: bool) -> Any:  # noqa: FBT001
    """Return an array of a shape whose elements along each `fixed` axis share one address in `small`."""
    import numpy as np

    strides = tuple(0 if one else own for one, own in zip(fixed, small.strides, strict=True))
    return np.lib.stride_tricks.as_strided(small, shape, strides, writeable=writeable and small.flags.writeable)


def overlapping(
    memory: Any,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    writeable: bool,  # noqa: FBT001
) -> Any:
    """Return an array whose elements overlap in `memory`."""
    import numpy as np

    array: Any = np.ndarray(shape, dtype, memory, offset, strides)
    array.flags.writeable = writeable and array.flags.writeable
    return array


def _one_of_each(array: Any) -> Any:
    return array[tuple(slice(0, 1) if fixed else slice(None) for fixed in _fixed(array))]


def _fixed(array: Any) -> tuple[bool, ...]:
    """Return for each axis whether all elements along the axis share one address."""
    some = array.size > 0  # an empty array may have any strides
    return tuple(some and stride == 0 and count > 1 for stride, count in zip(array.strides, array.shape, strict=True))


def _reduce_repeated(array: Any) -> Any:
    return repeated, (_one_of_each(array), array.shape, _fixed(array), array.flags.writeable)


def _reduce_overlapping(pickler: Any, array: Any) -> Any:
    """Return the reduction by the memory of the array, which is smaller than the sum of its elements."""
    as_strided = sys.modules["numpy"].lib.stride_tricks.as_strided
    forward = array[tuple(slice(None, None, -1) if stride < 0 else slice(None) for stride in array.strides)]
    first = forward[(slice(0, 1),) * array.ndim].reshape(1).view("u1")
    memory = as_strided(first, (extent(array),), (1,), writeable=False).copy()
    pickler.temporary.append(memory)
    place = sum(-stride * (count - 1) for stride, count in zip(array.strides, array.shape, strict=True) if stride < 0)
    return overlapping, (memory, array.dtype, array.shape, array.strides, place, array.flags.writeable)


def _reduce_objects(pickler: Any, array: Any) -> Any:
    """Return the reduction of an array of Python objects, which may contain views of the array itself.

    The array is made with its memory before its objects are loaded, so that the views lie in that memory.
    """
    base = plain(array)
    elements = base.__reduce__()[2]
    order = "F" if base.flags.fnc else "C"
    make, arguments = objects, (base.shape, base.dtype, order)
    state = elements, base.flags.writeable
    if array is base:
        return make, arguments, (*state, None), None, None, set_objects
    state_and_rest = (*state, state_of(array, is_fingerprint=pickler.is_fingerprint))
    return of_kind, (type(array), make, *arguments), state_and_rest, None, None, set_objects


def objects(shape: tuple[int, ...], dtype: Any, order: Any) -> Any:
    """Return an array of Python objects that are not loaded yet."""
    import numpy as np

    return np.empty(shape, dtype, order)


def set_objects(array: Any, state: tuple[Any, bool, Any]) -> None:
    """Set the elements of an array of Python objects, its flag `writeable`, and the attributes of its class."""
    import numpy as np

    elements, writeable, rest = state
    loaded = np.empty(0, "u1")
    loaded.__setstate__(elements)
    plain(array)[...] = loaded
    array.flags.writeable = writeable
    if rest is not None:
        set_state(array, rest)


def _copy(pickler: Any, array: Any) -> Any:
    copy = array.copy(order="C")
    copy.flags.writeable = array.flags.writeable
    pickler.temporary.append(copy)
    return copy
