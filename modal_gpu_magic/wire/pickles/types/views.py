"""Pickle numpy arrays that share memory: a view is sent as a view, with what it is a view of.

A small part of a large array that shares its memory with no other array of the transfer is sent by its own content.
"""

from __future__ import annotations

import array as words
import gc
import itertools
import sys
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types.array_kinds import (
    State,
    base_of,
    is_array,
    is_plain_array,
    of_kind,
    plain,
    set_state,
    state_of,
)
from modal_gpu_magic.wire.pickles.types.arrays import extent
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.torch_facts import package_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WHOLE_BYTES = 64 << 10
"""Smaller arrays are sent whole with any part of them: in the stream, as arrays of this size and more are not."""

_INNER = frozenset({tuple, list, dict})
_TABLES = frozenset({"DataFrame", "Series"})
"""Types of pandas whose objects a user may have named, also where another object refers to them."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of an array in a stream, by its bytes in the memory of an array without gaps.

    Attributes:
        root: the array, or the bytearray, that has the memory.
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
        """Create the view; if the array has gaps here, a view of a copy."""
        import numpy as np

        memory = self.root
        if is_array(memory):
            root = plain(memory) if is_whole(memory) else np.ascontiguousarray(plain(memory))
            memory = root if root.flags.c_contiguous else root.T
        if self.dtype.hasobject:  # numpy makes none of bytes
            first = memory.reshape(-1)[self.offset // self.dtype.itemsize :]
            made = np.lib.stride_tricks.as_strided(first, self.shape, self.strides)
        else:
            made = np.ndarray(self.shape, self.dtype, memory, self.offset, self.strides)
        return _limited(made, self.writeable)

    def into(self, known: Any) -> Any:
        """Return the receiver's own array if it is the same view, else a new view."""
        return _own_or_new(known, self.new())


@dataclass(frozen=True, slots=True)
class IndexedView:
    """A view of an array in a stream, by the array's index: the array may have gaps in its memory on either side.

    A part of an array arrives without gaps where the rest of the array is not sent.

    Attributes:
        root: the array.
        dtype: dtype of the view, of the same size as the array's.
        shape: shape of the view.
        first: index of the view's first element in the array.
        steps: steps of the array's index along each axis of the view.
        writeable: whether the view may be written to.
    """

    root: Any
    dtype: Any
    shape: tuple[int, ...]
    first: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    writeable: bool

    def new(self) -> Any:
        """Create the view."""
        import numpy as np

        corner_at: tuple[Any, ...] = (*(slice(place, None) for place in self.first), ...)
        corner = plain(self.root)[corner_at]
        strides = tuple(sum(map(mul, step, self.root.strides)) for step in self.steps)
        owner = plain(root_of(self.root))
        if is_simple(owner):
            memory = owner if owner.flags.c_contiguous else owner.T
            made = np.ndarray(self.shape, self.dtype, memory, _offset(corner, owner), strides)
        else:
            made = np.lib.stride_tricks.as_strided(corner.view(self.dtype), self.shape, strides)
        return _limited(made, self.writeable and self.root.flags.writeable)

    def into(self, known: Any) -> Any:
        """Return the receiver's own array if it is the same view, else a new view."""
        return _own_or_new(known, self.new())


@dataclass(frozen=True, slots=True)
class ViewOfKind:
    """A view of an array in a stream, as an array of a subclass.

    Attributes:
        kind: the class.
        view: the view.
        state: attributes and slots.
    """

    kind: type
    view: View | IndexedView
    state: State

    def into(self, known: Any) -> Any:
        """Return the receiver's own array with the attributes if it is the same view, else a new view."""
        array = _own_or_new(known, of_kind(self.kind, self.view.new))
        set_state(array, self.state)
        return array


def _own_or_new(known: Any, made: Any) -> Any:
    return known if type(known) is type(made) and _is_same(plain(known), plain(made)) else made


def _limited(array: Any, writeable: bool) -> Any:  # noqa: FBT001 - one fact of the array
    if array.flags.writeable and not writeable:
        array.flags.writeable = False
    return array


def _is_same(known: Any, made: Any) -> bool:
    """Whether two arrays are the same view: of one memory, although below each may be another object."""
    if (known.shape, known.dtype, _address(known)) != (made.shape, made.dtype, _address(made)):
        return False
    axes = zip(known.shape, known.strides, made.strides, strict=True)
    return all(mine == its for count, mine, its in axes if count > 1)


def span_of(array: Any) -> tuple[int, int]:
    """Return the lowest address of an array's memory, and the address after the highest."""
    reach = sum(min(0, stride * (count - 1)) for stride, count in zip(array.strides, array.shape, strict=True))
    start = _address(array) + (reach if array.size else 0)
    return start, start + extent(array)


def root_of(array: Any) -> Any:
    """Return the array that owns an array's memory, or the first array over memory of another object.

    An array that is not sent by its memory is passed over.
    """
    root = below = array
    while (below := _below(below)) is not None:
        if is_array(below):
            root = below
    return root


def _below(array: Any) -> Any:
    """Return the array that an array is a view of; None: there is none.

    Between the two may be an object through which numpy makes a view: a memory view, or that of `as_strided`.
    """
    base = base_of(array)
    if type(base) is memoryview:
        base = base.obj
    elif type(base).__name__ == "DummyArray":
        base = base.base
    return base if _is_any_array(base) else None


def owner_of(root: Any) -> Any:
    """Return the bytearray or the `array.array` whose memory an array without an array below shows; None: neither."""
    base = base_of(root)
    owner = base.obj if type(base) is memoryview else base
    return owner if is_a(owner, bytearray | words.array) else None


def is_view(array: Any) -> bool:
    """Whether an array shows the memory of another array, or of a bytearray."""
    root = root_of(array)
    return root is not array or owner_of(root) is not None


def _is_any_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return hasattr(numpy, "ndarray") and isinstance(value, numpy.ndarray)  # type: ignore[union-attr]  # it is loaded


def carriers(arrays: Iterable[Any], is_known: Callable[[Any], Any]) -> dict[int, Any]:
    """Return, by `id` of each array to send as a view, the array of the same memory that it is a view of.

    Args:
        arrays: numpy arrays of the transfer, and those that the receiver has.
        is_known: whether the receiver has an array.
    """
    found: dict[int, Any] = {}
    for group in by_root(arrays).values():
        root = root_of(group[0])
        if (owner := owner_of(root)) is not None:
            found.update({id(each): owner for each in group if each.size and not each.dtype.hasobject})
            continue
        views = [each for each in group if not each.dtype.hasobject or _lies_on(each, root)]
        if len(group) == 1 and (group[0] is root or is_known(group[0])):
            continue
        if not any(each is root for each in group):
            found.update(_of_hidden(root, views, is_known))
        elif is_whole(root):
            found.update({id(each): root for each in views if each is not root})
    return found


def _of_hidden(root: Any, views: list[Any], is_known: Callable[[Any], Any]) -> dict[int, Any]:
    """Return the carriers of arrays whose root is no array of the transfer.

    The carrier of an array is a larger one that the receiver has. If it has none: an array that covers the whole
    memory, since below a received array is an array of the loader; if there is none, the root.
    """
    known = sorted((each for each in views if is_known(each)), key=lambda each: -each.nbytes)
    new = [each for each in views if not is_known(each)]
    whole = next((each for each in new if _covers(each, root)), root)
    is_sent = whole is not root or _goes_with(root, new)
    found = {}
    for place, view in enumerate(known):
        found[id(view)] = next((each for each in known[:place] if _holds(each, view)), view)
    for view in new:
        last = whole if is_sent else view
        found[id(view)] = next((each for each in known if _holds(each, view)), last)
    return {id(view): found[id(view)] for view in views if found[id(view)] is not view}


def _lies_on(array: Any, root: Any) -> bool:
    """Whether an array of Python objects can be made of a root by the root's elements."""
    return bool(array.dtype == root.dtype and (is_whole(root) or _place(array, root) is not None))


def _goes_with(root: Any, parts: list[Any]) -> bool:
    """Whether the whole of an array is sent with some parts, so that they have the same gaps on both sides."""
    if not is_whole(root) or (len(parts) == 1 and parts[0].nbytes == root.nbytes and is_whole(parts[0])):
        return False
    nbytes = sum(each.nbytes for each in parts)
    return root.nbytes < WHOLE_BYTES or (nbytes >= WHOLE_BYTES and 2 * nbytes >= root.nbytes) or _overlap(parts)


def _overlap(arrays: list[Any]) -> bool:
    """Whether the memory of some arrays overlaps, from the lowest address to the highest of each."""
    spans = sorted(map(span_of, arrays))
    return any(end > start for (_, end), (start, _) in itertools.pairwise(spans))


def _covers(array: Any, root: Any) -> bool:
    """Whether an array is all of the memory of a root, without gaps."""
    return bool(array.nbytes == root.nbytes and _offset(array, root) == 0 and is_whole(array))


def _holds(array: Any, view: Any) -> bool:
    """Whether a view can be made of an array: by the array's index, or by bytes."""
    if _place(view, array) is not None:
        return True
    offset = _offset(view, array)
    can_be_of_bytes = is_simple(view) or view.dtype == array.dtype
    is_inside = offset >= 0 and offset + view.nbytes <= array.nbytes
    return bool(can_be_of_bytes and is_whole(array) and is_whole(view) and is_inside)


def by_root(arrays: Iterable[Any]) -> dict[int, list[Any]]:
    """Return arrays in groups that have one root, by `id` of the root."""
    groups: dict[int, list[Any]] = {}
    for array in {id(array): array for array in arrays}.values():
        groups.setdefault(id(root_of(array)), []).append(array)
    return groups


def is_whole(array: Any) -> bool:
    """Whether an array covers its memory without gaps."""
    return bool(array.flags.c_contiguous or array.flags.f_contiguous)


def is_simple(array: Any) -> bool:
    """Whether an array covers its memory without gaps, so that views can be made of its bytes."""
    return is_whole(array) and not array.dtype.hasobject


def content_of(array: Any, carrier: Any) -> View | IndexedView | ViewOfKind:
    """Return the content of an array that the receiver has, as a view of its carrier."""
    view = view_of(array, carrier)
    return view if is_plain_array(array) else ViewOfKind(type(array), view, state_of(array))


def view_of(array: Any, carrier: Any) -> View | IndexedView:
    """Return the memory of an array as a view of its carrier."""
    place = _place(array, carrier) if is_array(carrier) else None
    if place is not None:
        return IndexedView(carrier, array.dtype, array.shape, *place, array.flags.writeable)
    return View(carrier, array.dtype, array.shape, array.strides, _offset(array, carrier), array.flags.writeable)


def _place(array: Any, carrier: Any) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]] | None:
    """Return the index in the carrier of an array's first element, and the steps of the index along each axis.

    None: the array does not lie on the carrier's axes, as `reshape(-1)` of several rows.
    """
    if array.dtype.itemsize != carrier.dtype.itemsize or not (array.size and carrier.size and _is_apart(carrier)):
        return None
    backwards = [stride < 0 for stride in carrier.strides]
    lowest: tuple[Any, ...] = (..., *(-1 if flipped else 0 for flipped in backwards))
    distance = _address(array) - _address(plain(carrier)[lowest])
    place = _index(distance, carrier)
    strides = zip(array.strides, array.shape, strict=True)
    steps = [_index(stride, carrier) or ([0] * carrier.ndim if count == 1 else None) for stride, count in strides]
    if distance < 0 or place is None or any(step is None for step in steps):
        return None
    first = [
        count - 1 - at if flipped else at for at, count, flipped in zip(place, carrier.shape, backwards, strict=True)
    ]
    moves = [[-one if flipped else one for one, flipped in zip(step or (), backwards, strict=True)] for step in steps]
    for axis, count in enumerate(carrier.shape):
        reach = [(length - 1) * move[axis] for length, move in zip(array.shape, moves, strict=True)]
        least, most = sum(each for each in reach if each < 0), sum(each for each in reach if each > 0)
        if first[axis] + least < 0 or first[axis] + most >= count:
            return None
    return tuple(first), tuple(map(tuple, moves))


def _is_apart(array: Any) -> bool:
    """Whether each element of an array has an address of its own, and each axis lies between steps of the next one."""
    reach = array.dtype.itemsize
    for stride, count in sorted((abs(stride), count) for stride, count in zip(array.strides, array.shape, strict=True)):
        if count > 1 and stride < reach:
            return False
        reach += stride * (count - 1)
    return True


def _index(distance: int, array: Any) -> list[int] | None:
    """Return how many steps along each axis of an array make a distance in bytes; negative for a negative distance."""
    found, left = [0] * array.ndim, abs(distance)
    for axis in sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])):
        stride = abs(array.strides[axis])
        if stride and array.shape[axis] > 1:
            steps, left = divmod(left, stride)
            found[axis] = -steps if distance < 0 else steps
    return None if left else found


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
    return _address(array) - _address(root)


def _address(value: Any) -> int:
    """Return the address of the first element of an array, or of a bytearray."""
    array = value if _is_any_array(value) else sys.modules["numpy"].frombuffer(value, "u1")
    return int(array.__array_interface__["data"][0])
