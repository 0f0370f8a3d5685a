"""Whether two namespaces are the same to a program: equal values, and the same partition into identical objects."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import torch

_ATOMS = (int, float, str, bytes, bool, type(None), complex)


class Difference(Exception):  # noqa: N818 - it says what it is
    """Where two graphs differ."""


class Comparison:
    """Walks two graphs side by side. Each mutable object of one must meet always the same one of the other."""

    def __init__(self) -> None:
        self._pairs: dict[int, tuple[Any, Any]] = {}
        self._back: dict[int, tuple[Any, Any]] = {}
        self._memory: dict[int, int] = {}

    def same(self, one: Any, other: Any, where: str) -> None:
        """Compare two values.

        Raises:
            Difference: they differ; says where.
        """
        if type(one).__name__ != type(other).__name__:
            raise Difference(f"{where}: {type(one).__name__} {one!r} and {type(other).__name__} {other!r}")
        if isinstance(one, _ATOMS):
            if one != other:
                raise Difference(f"{where}: {one!r} and {other!r}")
            return
        if isinstance(one, type | types.ModuleType):
            self._equal(one.__name__, other.__name__, where)
            return
        if isinstance(one, types.MethodType):
            self.same(one.__self__, other.__self__, f"{where}.__self__")
            return
        if not isinstance(one, tuple):
            if (known := self._pairs.get(id(one))) is not None and known[1] is not other:
                raise Difference(f"{where}: one object here, another there")
            if (known := self._back.get(id(other))) is not None and known[1] is not one:
                raise Difference(f"{where}: two objects here, one there")
            if known is not None:
                return
            self._pairs[id(one)], self._back[id(other)] = (one, other), (other, one)
        self._parts(one, other, where)

    def _parts(self, one: Any, other: Any, where: str) -> None:
        for kind, compare in _BY_KIND:
            if isinstance(one, kind):
                compare(self, one, other, where)
                break
        else:
            if hasattr(one, "__dict__"):
                self.same(dict(vars(one)), dict(vars(other)), f"vars({where})")
        for name in getattr(type(one), "__slots__", ()):
            self.same(getattr(one, name, None), getattr(other, name, None), f"{where}.{name}")

    def _sequences(self, one: Any, other: Any, where: str) -> None:
        self._equal(len(one), len(other), f"len({where})")
        for number, (mine, its) in enumerate(zip(one, other, strict=True)):
            self.same(mine, its, f"{where}[{number}]")

    def _dicts(self, one: Any, other: Any, where: str) -> None:
        self._equal(list(one), list(other), f"keys of {where}")
        for key in one:
            self.same(one[key], other[key], f"{where}[{key!r}]")

    def _arrays(self, one: Any, other: Any, where: str) -> None:
        self._equal(one.tolist(), other.tolist(), where)
        self._over(one.__array_interface__["data"][0], other.__array_interface__["data"][0], where)

    def _tensors(self, one: Any, other: Any, where: str) -> None:
        self._equal(one.tolist(), other.tolist(), where)
        self._over(one.untyped_storage().data_ptr(), other.untyped_storage().data_ptr(), where)

    def _functions(self, one: Any, other: Any, where: str) -> None:
        self.same(list(one.__defaults__ or ()), list(other.__defaults__ or ()), f"{where}.__defaults__")
        for mine, its in zip(one.__closure__ or (), other.__closure__ or (), strict=True):
            self.same(mine, its, f"closure of {where}")

    def _cells(self, one: Any, other: Any, where: str) -> None:
        self.same(one.cell_contents, other.cell_contents, f"{where}.cell_contents")

    def _over(self, one: int, other: int, where: str) -> None:
        """Memory that is one here must be one there."""
        if self._memory.setdefault(one, other) != other:
            raise Difference(f"{where}: shares memory with another object in one of the two")

    @staticmethod
    def _equal(one: Any, other: Any, where: str) -> None:
        if one != other:
            raise Difference(f"{where}: {one!r} and {other!r}")


_BY_KIND: tuple[tuple[Any, Any], ...] = (
    ((list, tuple), Comparison._sequences),
    (dict, Comparison._dicts),
    (np.ndarray, Comparison._arrays),
    (torch.Tensor, Comparison._tensors),
    (types.FunctionType, Comparison._functions),
    (types.CellType, Comparison._cells),
)


def compare(one: dict[str, Any], other: dict[str, Any], names: list[str]) -> None:
    """Compare what names are bound to.

    Raises:
        Difference: something differs.
    """
    comparison = Comparison()
    for name in names:
        if (name in one) != (name in other):
            raise Difference(f"{name} is bound in one of the two")
        if name in one:
            comparison.same(one[name], other[name], name)
