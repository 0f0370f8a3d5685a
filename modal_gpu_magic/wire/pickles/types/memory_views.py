"""Pickle memory views with the object that has the memory: a view of a bytearray shows that bytearray on both sides.

A view of memory that only one process has, such as a buffer of `io.BytesIO`, is refused if it can be written to.
"""

from __future__ import annotations

import array
import sys
from typing import Any

from modal_gpu_magic.wire.buffers.hashing import address
from modal_gpu_magic.wire.pickles.types.array_kinds import is_array, plain
from modal_gpu_magic.wire.pickles.types.views import view_of
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.reasons import RefusedError


def reduce_memory_view(_: Any, view: memoryview) -> Any:
    """Return the reduction of a memory view.

    Raises:
        RefusedError: the receiver cannot have the memory.
    """
    owner: Any = view.obj
    if is_array(owner):
        seen = sys.modules["numpy"].asarray(view)
        return view_of_array, (view_of(seen, owner), _is_all_of(owner, seen))
    if is_a(owner, bytearray | array.array):
        return view_of_bytes, (owner, *_part(view, _start(view, owner)), view.readonly)
    if view.readonly and view.c_contiguous:
        return view_of_bytes, (view.tobytes(), *_part(view, 0), True)
    raise RefusedError(view, f"a view of the memory of a {type(owner).__name__}", "send a copy, bytes(view)")


def _is_all_of(owner: Any, seen: Any) -> bool:
    """Whether an array over a view's memory is as the array that has the memory."""
    mine, its = (
        (each.__array_interface__["data"], each.shape, each.strides, each.dtype) for each in (plain(owner), seen)
    )
    return bool(mine == its)


def _part(view: memoryview, start: int) -> tuple[Any, ...]:
    """Return the first byte of a view's memory, the byte after the last, the format, the step, and the shape.

    Args:
        view: the view.
        start: number of bytes before its first element.
    """
    if view.ndim != 1:
        return start, start + view.nbytes, view.format, 0, view.shape
    (count,), (stride,) = view.shape or (), view.strides or ()
    reach = max(count - 1, 0) * stride
    end = start + max(reach, 0) + (view.itemsize if count else 0)
    return start + min(reach, 0), end, view.format, stride // view.itemsize, None


def _start(view: memoryview, owner: Any) -> int:
    """Return the number of bytes from the start of the memory to the first element of a view.

    Raises:
        RefusedError: it cannot be found.
    """
    whole = memoryview(owner)
    if not view.nbytes or (view.nbytes == whole.nbytes and view.c_contiguous):
        return 0
    first = address(view if view.c_contiguous else view[:1])
    if not first:
        raise RefusedError(view, "a view of a part of some bytes", "send a copy, bytes(view)")
    return first - address(whole)


def view_of_array(view: Any, is_whole: bool) -> memoryview:  # noqa: FBT001 - a pickle passes arguments by position
    """Return a memory view of an array, or of a view of the array."""
    return memoryview(view.root if is_whole else view.new())


def view_of_bytes(
    owner: Any,
    start: int,
    end: int,
    form: Any,
    step: int,
    shape: Any,
    readonly: bool,  # noqa: FBT001 - a pickle passes arguments by position
) -> memoryview:
    """Return a memory view of a bytearray, an `array.array` or bytes: of several axes if `shape` is given."""
    part = memoryview(owner).cast("B")[start:end]
    view = part.cast(form, shape) if shape is not None else part.cast(form)[::step]
    return view.toreadonly() if readonly else view


def is_same_view(old: memoryview, new: memoryview) -> bool:
    """Whether two memory views show the same memory in the same way, or the same bytes that do not change."""
    if (old.format, old.shape, old.strides, old.readonly) != (new.format, new.shape, new.strides, new.readonly):
        return False
    if old.readonly and is_a(old.obj, bytes):
        return bool(old == new)
    return _is_one_memory(old, new)


def _is_one_memory(old: memoryview, new: memoryview) -> bool:
    if is_array(new.obj):
        mine, its = (sys.modules["numpy"].asarray(each).__array_interface__["data"][0] for each in (old, new))
        return bool(mine == its)
    return old.obj is new.obj and _start(old, old.obj) == _start(new, new.obj)
