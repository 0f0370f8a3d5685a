"""Estimate the number of bytes that are sent for a value, without pickling it. The functions do not raise."""

from __future__ import annotations

import collections
import sys
import time
import types
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types.arrays import sent_bytes
from modal_gpu_magic.wire.pickles.types.tensors import is_plain, is_sliver
from modal_gpu_magic.wire.values.imports import DeferredImport
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.silent_warnings import unwarned
from modal_gpu_magic.wire.values.torch_facts import past_class, storage_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modal_gpu_magic.wire.pickles.counting import Counter

WHOLE_OBJECTS, SAMPLE_OBJECTS = 15_000, 8_000
"""Limits of objects: for a count of the whole value (0.1 s), and then for each of two samples of its items (0.03 s)."""

MOST_SECONDS = 4
"""CPU time in seconds that an estimate takes at most. Only objects whose classes are slow reach this limit."""

MOST_DEPTH = 4
"""Largest depth at which nested containers are sampled."""

MOST_ITEMS = 200
"""Largest number of items or attributes that are counted one by one; of more, samples are counted."""

MOST_FAILED = 20
"""Of parts that cannot be counted, the largest number whose own parts are: each takes 1 to 10 ms."""

CHUNK_ITEMS = 500
"""Number of a sample's items that are counted at once."""

_OBJECT = 30
"""Bytes assumed for a value that cannot be counted."""

_ATOMS: dict[type, int] = {type(None): 1, bool: 1, int: 5, float: 9, complex: 40, DeferredImport: 100}
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def size_text(nbytes: float) -> str:
    """`512 B`, `1.5 kB`, `67 MB`, `5.1 GB`: powers of 1,000, as in the options."""
    for unit, name in _UNITS:
        if nbytes >= unit:
            count = nbytes / unit
            return f"{count:.1f} {name}" if count < 10 else f"{count:.0f} {name}"  # noqa: PLR2004 - two digits
    return f"{nbytes:.0f} B"


def nbytes_of(value: Any) -> int:
    """Estimate the number of bytes that are sent for a value.

    The value is pickled without writing (`pickles.counting`). Of a value with more objects than the limit, samples are.
    """
    try:
        simple = _simple(value)
        return int(_Estimate().of(value) if simple is None else simple)
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is read
        pass_on(error)
        return _OBJECT


def _simple(value: Any) -> int | None:
    """Return the bytes of a value that needs no pickler; None: another value."""
    kind = type(value)
    if kind in _ATOMS:
        return _ATOMS[kind]
    if kind is str:
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if kind is bytes or kind is bytearray:
        return len(value)
    numpy = sys.modules.get("numpy")
    if kind is getattr(numpy, "ndarray", None) and not value.dtype.hasobject:
        return sent_bytes(value)
    if numpy is not None and is_a(value, getattr(numpy, "generic", ())):
        return int(getattr(value, "nbytes", _OBJECT))
    return _of_tensor(value)


def _of_tensor(value: Any) -> int | None:
    torch = sys.modules.get("torch")
    if type(value) is getattr(torch, "Tensor", None) and value.device.type == "meta":
        return 0
    if not is_plain(value) or value.__dict__:
        return None
    return _of_strided(value)


@past_class
def _of_strided(tensor: Any) -> int:
    nbytes = tensor.numel() * tensor.element_size() if is_sliver(tensor) else storage_of(tensor).nbytes()
    grad = tensor.grad if tensor.is_leaf else None
    return int(nbytes) + (0 if grad is None else nbytes_of(grad))


class _Estimate:
    """The estimate of one value's bytes, within a limit of time."""

    def __init__(self) -> None:
        self._until = time.thread_time() + MOST_SECONDS

    @unwarned()
    def of(self, value: Any) -> float:
        """Return the estimate."""
        return self._whole_or_parts(value, WHOLE_OBJECTS, 0)

    def _whole_or_parts(self, value: Any, objects: float, depth: int) -> float:
        """Return the bytes of a value: counted if it can be pickled within the limit, else estimated from its parts."""
        known = _counted_by_library(value)
        if known is not None:
            return known
        with self._counter(objects) as counter:
            try:
                return counter.count(value)
            except BaseException as error:  # noqa: BLE001 - the limit is reached, or the value cannot be pickled
                pass_on(error)
                return max(self._by_parts(value, objects, depth), counter.total)

    def _by_parts(self, value: Any, objects: float, depth: int) -> float:
        known = self._known(value)
        if known is not None or depth >= MOST_DEPTH:
            return known or _OBJECT
        parts, count = _parts(value)
        if count <= MOST_ITEMS:
            return _OBJECT + self._one_by_one(list(parts), objects / 2, depth)
        return _OBJECT + self._sampled(parts, count, depth)

    def _one_by_one(self, parts: list[Any], objects: float, depth: int) -> float:
        """Return the bytes of a few values, which may share objects."""
        total, left = 0.0, list[Any]()
        with self._counter(objects) as counter:
            for part in parts:
                try:
                    total += _ATOMS.get(type(part)) or counter.count(part)
                except BaseException as error:  # noqa: BLE001, PERF203 - the limit is reached, or it cannot be pickled
                    pass_on(error)
                    left.append(part)
        some = left[:: -(-len(left) // MOST_FAILED)] if left else []
        return total + sum(
            self._whole_or_parts(part, objects / len(some), depth + 1) * len(left) / len(some) for part in some
        )

    def _sampled(self, parts: Iterable[Any], count: int, depth: int) -> float:
        """Estimate the bytes of many values from two samples.

        The first sample also contains the objects that all values share; the second shows the bytes each value adds.
        """
        from modal_gpu_magic.wire.pickles.counting import LimitReached

        samples = [list(islice(parts, start, None, max(2, count // (CHUNK_ITEMS * 20)))) for start in (0, 1)]
        sizes, counted = [0.0, 0.0], [0, 0]
        with self._counter(SAMPLE_OBJECTS) as counter:
            for which, sample in enumerate(samples):
                counter.extend(SAMPLE_OBJECTS)
                for start in range(0, len(sample), CHUNK_ITEMS):
                    chunk = sample[start : start + CHUNK_ITEMS]
                    try:
                        sizes[which] += counter.count(chunk)
                    except LimitReached:
                        break
                    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is pickled
                        pass_on(error)
                        sizes[which] += (
                            self._one_by_one(chunk[:MOST_ITEMS], SAMPLE_OBJECTS, depth + 1)
                            * len(chunk)
                            / len(chunk[:MOST_ITEMS])
                        )
                    counted[which] += len(chunk)
        if not counted[1]:
            few = samples[0][:: max(1, len(samples[0]) // 5)][:5]
            return sum(self._whole_or_parts(part, SAMPLE_OBJECTS, depth + 1) for part in few) * count / len(few)
        return sizes[0] + sizes[1] / counted[1] * (count - counted[0])

    def _known(self, value: Any) -> float | None:
        """Return the size in bytes that a library's value reports; None: the value reports none."""
        pandas = sys.modules.get("pandas")
        if hasattr(pandas, "DataFrame"):
            if is_a(value, pandas.DataFrame):  # type: ignore[union-attr]  # it is loaded
                objects = [number for number, dtype in enumerate(value.dtypes) if dtype.kind == "O"]
                return float(value.memory_usage().sum()) + sum(self._texts(value.iloc[:, number]) for number in objects)
            if is_a(value, pandas.Series | pandas.Index):  # type: ignore[union-attr]  # it is loaded
                return float(value.memory_usage()) + (self._texts(value) if value.dtype.kind == "O" else 0)
        nbytes = getattr(value, "nbytes", None)
        return float(nbytes) if is_a(nbytes, int) else None

    def _texts(self, column: Any) -> float:
        """Return the bytes of the objects in a column, without the pointers."""
        return self._sampled(list(column), len(column), 1) - 8 * len(column)

    def _counter(self, objects: float) -> closing[Counter]:
        from modal_gpu_magic.wire.pickles.counting import Counter

        return closing(Counter(objects, self._until))


def _parts(value: Any) -> tuple[Iterable[Any], int]:
    """Return the items or attributes of a value, and their number."""
    if is_a(value, dict):
        return _Pairs(value), len(value)
    if is_a(value, list | tuple | set | frozenset | collections.deque):
        return value, len(value)
    held = getattr(value, "__dict__", {}) if not is_a(value, type | types.ModuleType) else {}
    slots = [
        getattr(value, name)
        for kind in type(value).__mro__
        for name, found in kind.__dict__.items()
        if type(found) is types.MemberDescriptorType and hasattr(value, name)
    ]
    parts = [*held.values(), *slots]
    return parts, len(parts)


class _Pairs:
    """The items of a dict as a reusable iterable."""

    def __init__(self, value: dict[Any, Any]) -> None:
        self._value = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self._value.items())


def _counted_by_library(value: Any) -> float | None:
    """Return a library's own estimate for a value that pickling would copy; None: no estimate."""
    if hasattr(type(value), "estimated_size"):  # polars
        return float(value.estimated_size())
    return None
