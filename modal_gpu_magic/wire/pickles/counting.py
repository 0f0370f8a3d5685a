"""A pickler that counts bytes instead of writing them. Buffers are counted, never read or copied."""

from __future__ import annotations

import functools
import sys
import time
import types
from typing import TYPE_CHECKING, Any

import cloudpickle

from modal_gpu_magic.wire.pickles.pickling import can_be_pickled
from modal_gpu_magic.wire.pickles.reducers import reducers
from modal_gpu_magic.wire.pickles.types import cloudpickle_names
from modal_gpu_magic.wire.pickles.types.array_kinds import is_plain_array, plain, state_of
from modal_gpu_magic.wire.pickles.types.arrays import reduce_kind, sent_bytes
from modal_gpu_magic.wire.pickles.types.tensor_kinds import reduce_kind as reduce_kind_of_tensor
from modal_gpu_magic.wire.pickles.types.tensors import is_plain

if TYPE_CHECKING:
    import pickle

STREAM_BYTES = 64 << 10
"""Smaller buffers are counted as part of the stream, larger ones as out-of-band buffers."""

_EACH = 13
"""Bytes that start and end a pickle."""

_FUNCTION, _ARRAY, _TENSOR = 30, 20, 35
"""Overhead in bytes: of a function without its code and contents, of an array or a tensor without its elements."""

OBJECTS_A_CHECK = 200
"""Objects that a reducer pickles between two checks of the limits; a part of the stream counts as this many objects."""

SECONDS_AN_OBJECT = 100e-6
"""CPU time in seconds that an object of the limit may take: some 10 times what one takes on an idle machine, since a
garbage collection in the middle of a count takes 0.3 s in a large process."""


class LimitReached(Exception):  # noqa: N818 - the name says which event ended the count
    """The limit of the count was reached. Callers in `wire` catch this exception."""


class Counter:
    """Counts the bytes of one value after another; a shared object counts once.

    The limit is a number of objects, so that a count says the same on a slow machine as on a fast one. Objects whose
    classes are slow reach the limit by time.

    Args:
        objects: number of objects to pickle in all values.
        until: the time at which the limit is reached in any case (`time.thread_time`, seconds).

    Attributes:
        total: bytes counted, including those of a value whose count was cut off.
        stream: those of them that are not the memory of arrays and tensors: pickling copies them.
    """

    def __init__(self, objects: float, until: float) -> None:
        self._last = until
        self.extend(objects)
        self.total = self.stream = 0
        self._pickler = _Pickler(self)

    def extend(self, objects: float) -> None:
        """Set the limit to `objects` from now."""
        self._left = objects
        self._until = min(time.thread_time() + objects * SECONDS_AN_OBJECT, self._last)

    def close(self) -> None:
        """Release the values: counter and pickler refer to each other, so that only the garbage collector would."""
        self._pickler.clear_memo()
        self._pickler.__dict__.clear()

    def count(self, value: Any) -> int:
        """Return the bytes that a value adds to those counted before.

        Raises:
            LimitReached: the limit is reached.
            Exception: any exception that a class raises while an instance is pickled.
        """
        before = self.total
        self._pickler.dump(value)
        return max(self.total - before - _EACH, 1)

    def write(self, part: Any) -> int:
        """Count a part of the stream.

        Raises:
            LimitReached: the limit is reached.
        """
        self.add(len(part))
        self.stream += len(part)
        self.check()
        return len(part)

    def add(self, nbytes: int) -> None:
        """Count out-of-band bytes."""
        self.total += nbytes

    def check(self) -> None:
        """Count `OBJECTS_A_CHECK` objects.

        Raises:
            LimitReached: the limit is reached.
        """
        self._left -= OBJECTS_A_CHECK
        if self._left < 0 or time.thread_time() >= self._until:
            raise LimitReached


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is published without types
    """Implements `protocol.Pickler` for the reducers; counts buffers and elements without reading them."""

    sends_graphs = True
    is_fingerprint = is_trial = False
    is_paired = True
    session = None

    def __init__(self, counter: Counter) -> None:
        super().__init__(counter, protocol=5, buffer_callback=self._beside)
        self.namespace: dict[str, Any] = {}
        self.temporary: list[Any] = []
        self.storages: dict[Any, Any] = {}
        self.computed: set[int] = set()
        self.counter = counter
        self._buffers: set[tuple[int, int]] = set()
        self._calls = 0

    @functools.cached_property
    def _reducers(self) -> Any:
        """The reducers by type; created when the first object needs one."""
        found = reducers()
        found.update(_counters())
        return found

    def reducer_override(self, obj: Any) -> Any:
        """Return how to count an object."""
        self._calls += 1
        if not self._calls % OBJECTS_A_CHECK:
            self.counter.check()
        reducer = self._reducers[type(obj)]
        reducer = _array if reducer is reduce_kind else reducer
        reduced = NotImplemented if reducer is None else reducer(self, obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced

    def reduce(self, obj: Any) -> Any:
        """Return how to pickle an object, as a tuple; see `protocol.Pickler`."""
        reduced = self.reducer_override(obj)
        return obj.__reduce_ex__(5) if reduced is NotImplemented else reduced

    def travels(self, value: Any) -> bool:
        """Whether a value can be pickled by itself; see `protocol.Pickler`."""
        return can_be_pickled(value, self.namespace)

    def device(self, name: str) -> str:
        """Return the name: a storage's device is pickled as its name."""
        return name

    def beside(self, address: int, nbytes: int) -> None:
        """Count a large buffer once."""
        if (address, nbytes) not in self._buffers:
            self._buffers.add((address, nbytes))
            self.counter.add(nbytes)

    def _beside(self, buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < STREAM_BYTES:
            return True
        self.counter.add(view.nbytes)
        return False


def _counters() -> dict[type, Any]:
    table: dict[type, Any] = {types.FunctionType: _function}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "ndarray"):
        table[numpy.ndarray] = _array
    if torch is not None and hasattr(torch, "UntypedStorage"):
        table |= {torch.Tensor: _tensor, torch.nn.Parameter: _tensor, torch.UntypedStorage: _storage}
    return table


def _function(pickler: _Pickler, function: types.FunctionType) -> Any:
    if cloudpickle_names.goes_by_name(function):
        return NotImplemented
    pickler.counter.add(_FUNCTION)
    held = function.__closure__, function.__defaults__, function.__kwdefaults__, function.__dict__
    return tuple, ([function.__code__, function.__annotations__, *held],)


def _array(pickler: _Pickler, array: Any) -> Any:
    if array.dtype.hasobject:
        return NotImplemented if is_plain_array(array) else reduce_kind(pickler, array)
    pickler.counter.add(_ARRAY)
    nbytes = sent_bytes(plain(array))
    if nbytes < STREAM_BYTES:
        pickler.counter.add(nbytes)
    else:
        pickler.beside(array.__array_interface__["data"][0], nbytes)
    return tuple, ([] if is_plain_array(array) else [*state_of(array)],)


def _tensor(pickler: _Pickler, tensor: Any) -> Any:
    pickler.counter.add(_TENSOR)
    if tensor.is_quantized:  # the integer representation would be a copy
        pickler.counter.add(tensor.numel() * tensor.element_size())
        return tuple, ([],)
    if not is_plain(tensor):
        return reduce_kind_of_tensor(tensor)
    _storage(pickler, tensor.untyped_storage())
    return tuple, ([tensor.grad if tensor.is_leaf else None, tensor.__dict__],)


def _storage(pickler: _Pickler, storage: Any) -> Any:
    pickler.beside(storage._cdata, storage.nbytes())  # noqa: SLF001 - its identity, as torch.save has it
    return tuple, ([],)
