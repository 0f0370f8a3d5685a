"""Find the names that share objects, by a search of the object graph that calls no code of a user's class.

Names that share a mutable object are compared and sent together, so that a graph that several names reach is read once.
"""

from __future__ import annotations

import enum
import gc
import logging
import sys
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.identity import is_by_value
from modal_gpu_magic.wire.pickles.types.array_kinds import base_of, is_array_kind, plain, state_of
from modal_gpu_magic.wire.pickles.types.instances import slots_in
from modal_gpu_magic.wire.pickles.types.mapping_views import mapping_of
from modal_gpu_magic.wire.pickles.types.tensors import is_by_storage, is_plain
from modal_gpu_magic.wire.values.attributes import attributes_of
from modal_gpu_magic.wire.values.kinds import module_of, name_of
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.remote import RemoteValue
from modal_gpu_magic.wire.values.torch_facts import package_of, past_class, storage_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_OBJECTS = 1_000_000
"""Largest number of objects to visit in one search. Above the limit, names may count as unconnected."""

_AT_ONCE = 10_000
"""Objects whose referents are asked for at once: a thread that searches lets others run in between."""

_SKIPPED: frozenset[type] = frozenset(
    {
        *(int, float, complex, bool, str, bytes, type(None), range, slice, object),
        *(types.ModuleType, types.CodeType, types.GetSetDescriptorType),
        *(types.MemberDescriptorType, types.WrapperDescriptorType, types.MethodDescriptorType, types.FrameType),
        *(types.ClassMethodDescriptorType, RemoteValue),
    }
)
"""Types whose objects contain no objects that two names could share."""

_PASSED = frozenset(
    {
        *(tuple, frozenset, types.FunctionType, staticmethod, classmethod, property),
        *(types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType),
    }
)
"""Types whose objects do not connect names themselves, but may contain objects that do."""


class _Role(enum.Enum):
    """How the search handles objects of a type."""

    SKIP = "ignore the objects"
    PASSED = "the objects do not connect names, but the objects that they refer to may"
    READ = "the objects connect names, and gc.get_referents returns the objects that they refer to"
    ASK = "the objects connect names, and only some of the objects that they refer to count"


_SKIP, _PASS, _READ, _ASK = _Role  # globals, because reading a member from the class takes five times as long


class Graph:
    """The objects that some names reach.

    Args:
        namespace: the notebook's globals, which the search does not enter.
        whole: functions and classes of the notebook, and plain `object()`s connect names as well. A saved
            state needs this: each group is loaded alone, and tokens tell only of the objects that have crossed.

    Attributes:
        owners: by `id` of an object, the name by which the search reached the object first.
    """

    def __init__(self, namespace: dict[str, Any], *, whole: bool = False) -> None:
        self._namespace, self._whole = namespace, whole
        self.owners: dict[int, str] = {}
        self._parents: dict[str, str] = {}
        self._held: list[Any] = []
        self._roles: dict[type, _Role] = dict.fromkeys(_SKIPPED, _SKIP)
        self._special = _special()
        if whole:
            del self._roles[object]

    @property
    def is_full(self) -> bool:
        """Whether the search has ended at its limit, so that names may count as unconnected."""
        return len(self.owners) >= MOST_OBJECTS

    def add(self, name: str, value: Any) -> list[Any]:
        """Search the objects that a name reaches; return those of other names at which the search ended."""
        met: list[Any] = []
        self._parents.setdefault(name, name)
        passed: set[int] = {id(self._namespace)}
        waiting = [value]
        owners, role_of = self.owners, self._roles.get
        while waiting and len(owners) < MOST_OBJECTS:
            read: list[Any] = []
            asked: list[Any] = []
            for each in waiting:
                try:
                    role = role_of(type(each)) or self._role(type(each))
                except BaseException as error:  # noqa: BLE001 - of a metaclass whose `__hash__` fails
                    pass_on(error)
                    continue
                if role is _SKIP:
                    continue
                key = id(each)
                if role is _PASS and not (self._whole and _is_of_the_notebook(each)):
                    if key in passed:
                        continue
                    passed.add(key)
                else:
                    owner = owners.get(key)
                    if owner is not None:
                        if owner != name:
                            met.append(each)
                            self._join(owner, name)
                        continue
                    owners[key] = name
                (read if role is _READ else asked).append(each)
            self._held += (read, asked)
            waiting = self._below(read, asked)
        return met

    def _below(self, read: list[Any], asked: list[Any]) -> list[Any]:
        """Return the objects that objects refer to."""
        found: list[Any] = []
        for start in range(0, len(read), _AT_ONCE):  # the call holds the GIL
            found += gc.get_referents(*read[start : start + _AT_ONCE])
        return found + self._referents(asked) if asked else found

    def _role(self, kind: type) -> _Role:
        """Return and cache how the search handles objects of a type."""
        if is_by_storage(kind):
            self._special[kind] = _of_tensor
        if kind in _PASSED or issubclass(kind, type):
            role = _PASS
        elif kind in self._special or package_of(kind) in _CLOSED or issubclass(kind, _LOGGERS) or is_array_kind(kind):
            role = _ASK
        else:
            role = _READ
        self._roles[kind] = role
        return role

    def _referents(self, values: list[Any]) -> list[Any]:
        """Return the objects that `values` refer to directly and that two names can share."""
        found: list[Any] = []
        for value in values:
            how = self._special.get(type(value))
            if how is not None:
                found += how(value)
            elif issubclass(type(value), type):
                found += _of_class(value)
            elif type(value) in _PASSED:
                found += gc.get_referents(value)
            else:
                found += _of_library(value)
        return found

    def memory(self) -> list[Any]:
        """Return the numpy arrays and torch storages that the search has found."""
        kinds = {kind for kind in self._roles if is_array_kind(kind) or name_of(kind) == "UntypedStorage"}
        return [each for found in self._held for each in found if type(each) in kinds] if kinds else []

    def groups(self) -> list[tuple[str, ...]]:
        """Return the names in groups that share objects."""
        found: dict[str, list[str]] = {}
        for name in self._parents:
            found.setdefault(self._root(name), []).append(name)
        return [tuple(sorted(names)) for names in found.values()]

    def _join(self, one: str, other: str) -> None:
        self._parents[self._root(other)] = self._root(one)

    def _root(self, name: str) -> str:
        while (parent := self._parents[name]) != name:
            name = parent
        return name


def groups_of(values: Mapping[str, Any], namespace: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return names in groups that share mutable objects. Functions, classes and tuples alone do not connect names.

    Args:
        values: values by name.
        namespace: the notebook's globals, which the search does not enter.
    """
    graph = Graph(namespace)
    for name, value in values.items():
        graph.add(name, value)
    return graph.groups()


def reached(values: Iterable[Any], namespace: dict[str, Any]) -> dict[int, str]:
    """Return the `id`s of the objects that values reach. Valid while the values exist and do not change."""
    graph = Graph(namespace)
    for number, value in enumerate(values):
        graph.add(str(number), value)
    return graph.owners


_CLOSED = frozenset({"numpy", "pandas", "polars", "pyarrow", "_thread", "threading", "ipykernel", "IPython"})
"""Packages whose objects are not searched: the package itself manages what its objects share."""
_LOGGERS = (logging.Logger, logging.Manager, logging.PlaceHolder)
"""Objects of the process, which go by their names."""


def _of_library(value: Any) -> list[Any]:
    """Return a numpy array's base, objects and attributes; empty for other objects of these packages."""
    if not is_array_kind(type(value)):
        return []
    array, base = plain(value), base_of(value)
    found = [] if base is None else [base]
    if array is not value:
        attributes, slots = state_of(value)
        found += [*attributes.values(), *slots.values()]
    if array.dtype.hasobject and array.dtype.names is None:
        found += array.ravel().tolist()
    return found


def _of_function(function: types.FunctionType) -> list[Any]:
    if not is_by_value(function):
        return []
    found: list[Any] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    found += function.__dict__.values()
    found += [cell for cell in function.__closure__ or () if not _holds_class(cell)]
    return found


def _holds_class(cell: types.CellType) -> bool:
    """Whether a cell contains a class (a method's `__class__`) or is empty; such a cell connects no names."""
    try:
        return isinstance(cell.cell_contents, type)
    except ValueError:
        return True


def _is_of_the_notebook(value: Any) -> bool:
    """Whether a function or a class is pickled by value."""
    if type(value) is types.FunctionType:
        return is_by_value(value)
    return isinstance(value, type) and module_of(value) == "__main__"


def _of_class(value: type) -> list[Any]:
    """Return bases and attributes of a class of the notebook."""
    if module_of(value) != "__main__":
        return []
    held = _NAMES.__get__(value).items()
    return [*_BASES.__get__(value), *(each for name, each in held if name not in _OF_EVERY_CLASS)]


_NAMES: Any = type.__dict__["__dict__"]
_BASES: Any = type.__dict__["__bases__"]
"""Read a class past the properties of its metaclass."""
_OF_EVERY_CLASS = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl"})


@past_class
def _of_tensor(tensor: Any) -> list[Any]:
    found = [*(attributes_of(tensor) or {}).values(), *slots_in(tensor).values()]
    if is_plain(tensor):
        found.append(storage_of(tensor))
    if tensor.is_leaf and tensor.grad is not None:
        found.append(tensor.grad)
    return found


def _of_proxy(proxy: Any) -> list[Any]:
    mapping = mapping_of(proxy)
    return [] if mapping is None else [mapping]


def _nothing(_: Any) -> list[Any]:
    return []


def _special() -> dict[type, Any]:
    torch = sys.modules.get("torch")
    special: dict[type, Any] = {types.FunctionType: _of_function, types.MappingProxyType: _of_proxy}
    if hasattr(torch, "UntypedStorage"):
        special[torch.UntypedStorage] = _nothing  # type: ignore[union-attr]
    return special
