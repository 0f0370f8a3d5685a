"""About how many bytes a value takes when it travels, without pickling it. Nothing here raises."""

from __future__ import annotations

import collections
import sys
import types
from itertools import islice
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.tensors import is_plain, is_sliver
from modal_gpu_magic.wire.values.imports import DeferredImport

if TYPE_CHECKING:
    from collections.abc import Iterable

SAMPLES = (1_000, 1_000, 30)
"""How many items of a container are looked at, by how deep it lies; the others are taken to be like them."""

MOST_VALUES = 5_000
"""How many values that are not atoms are looked at in all (0.1 s); the others are taken to be like them, too."""

_OBJECT, _REFERENCE, _CODE = 30, 3, 1_000
"""Bytes of a pickle for an object beside its parts, for one that is in it already, for a function or a class."""

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
    """About how many bytes a value takes when it travels: exact for arrays, a guess from a sample for containers."""
    try:
        return int(_Search().size(value, 0))
    except Exception:  # noqa: BLE001 - whatever a user's class raises when it is looked at
        return _OBJECT


class _Search:
    """One value being measured: what is in it twice counts once."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}
        self._storages: set[Any] = set()

    def size(self, value: Any, depth: int) -> float:
        """The bytes of a value, without what was measured before."""
        if type(value) in _ATOMS:
            return _ATOMS[type(value)]
        if isinstance(value, str | bytes | bytearray):
            return len(value) + 5
        if id(value) in self._seen:
            return _REFERENCE
        self._seen[id(value)] = value
        return self._content(value, depth)

    def _content(self, value: Any, depth: int) -> float:
        if is_plain(value):
            return self._tensor(value, depth)
        if isinstance(value, type | types.ModuleType) or hasattr(value, "__code__"):
            return _CODE  # travels by name, or as its code
        if isinstance(value, dict):
            keys, values = self._items(value.keys(), len(value), depth), self._items(value.values(), len(value), depth)
            return _OBJECT + keys + values
        if isinstance(value, list | tuple | set | frozenset | collections.deque):
            return _OBJECT + self._items(value, len(value), depth)
        known = _known(value)
        if known is not None:
            return known
        return _OBJECT + sum(self.size(part, depth) for part in _parts(value))

    def _items(self, items: Iterable[Any], count: int, depth: int) -> float:
        sizes: list[float] = []
        for item in islice(items, SAMPLES[min(depth, len(SAMPLES) - 1)]):
            if len(self._seen) > MOST_VALUES and sizes:
                break
            sizes.append(self.size(item, depth + 1))
        return sum(sizes) * count / len(sizes) if sizes else 0

    def _tensor(self, tensor: Any, depth: int) -> float:
        storage = tensor.untyped_storage()
        grad = self.size(tensor.grad, depth) if tensor.is_leaf and tensor.grad is not None else 0
        if is_sliver(tensor) and depth == 0:
            return float(tensor.numel() * tensor.element_size()) + grad
        if storage._cdata in self._storages:  # noqa: SLF001 - its identity
            return grad
        self._storages.add(storage._cdata)  # noqa: SLF001
        return float(storage.nbytes()) + grad


def _parts(value: Any) -> list[Any]:
    """What an object's bytes are in."""
    torch = sys.modules.get("torch")
    if hasattr(torch, "nn") and isinstance(value, torch.nn.Module):  # type: ignore[union-attr]  # it is loaded
        return [*value.parameters(), *value.buffers()]
    return list(getattr(value, "__dict__", {}).values())


def _known(value: Any) -> float | None:
    """What a library's value says of its own size; None: it does not."""
    pandas = sys.modules.get("pandas")
    if hasattr(pandas, "DataFrame"):
        if isinstance(value, pandas.DataFrame):  # type: ignore[union-attr]  # it is loaded
            objects = [number for number, dtype in enumerate(value.dtypes) if dtype.kind == "O"]
            return float(value.memory_usage().sum()) + sum(_texts(value.iloc[:, number]) for number in objects)
        if isinstance(value, pandas.Series | pandas.Index):  # type: ignore[union-attr]  # it is loaded
            return float(value.memory_usage()) + (_texts(value) if value.dtype.kind == "O" else 0)
    nbytes = getattr(value, "nbytes", None)
    if nbytes is None and hasattr(type(value), "estimated_size"):  # polars
        nbytes = value.estimated_size()
    return float(nbytes) if isinstance(nbytes, int) else None


def _texts(column: Any) -> float:
    """What the objects of a column take, beyond the pointers to them."""
    sample = list(column[: SAMPLES[-1]])
    return sum(_Search().size(item, 1) for item in sample) * len(column) / len(sample) if sample else 0.0
