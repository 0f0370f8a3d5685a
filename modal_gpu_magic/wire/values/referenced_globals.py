"""Which of the notebook's names a cell needs besides those it reads: what the functions and classes among them use.

Values are looked at, never asked: no method or property of a user's class runs here.
"""

from __future__ import annotations

import collections
import contextlib
import dis
import functools
import sys
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.values.lookups import code_looks_up_any_name, names_in_texts
from modal_gpu_magic.wire.values.remote import RemoteValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_VALUES = 10_000
"""How many values are looked at for one name (30 ms). In a larger structure a function may be overlooked; the cell's
NameError then says how to send what it lacks."""

_LOOKUPS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_GLOBAL"})
"""Opcodes that look a name up among the globals; in a class body `LOAD_NAME` does."""

_OF_EVERY_MODULE = frozenset(vars(types.ModuleType("any"))) | {"__file__", "__builtins__", "__builtin__"}
"""Names that the other side's namespace has by itself; a class body looks up `__name__`."""

_ATOMS: frozenset[type] = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), range, slice})
"""Types of values that refer to nothing of the notebook's."""

_EMPTY = types.CellType()
"""A closure's cell that is not filled yet equals this one."""

_SEQUENCES = (list, tuple, set, frozenset, collections.deque)

_MEMBERS: dict[type, tuple[str, ...]] = {
    types.MethodType: ("__func__", "__self__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.partial: ("func", "args", "keywords"),
    collections.defaultdict: ("default_factory",),
}
"""Where Python's own kinds of values hold functions, other than in a `__dict__`."""


def reach(names: Iterable[str], namespace: dict[str, Any]) -> set[str]:
    """Those of the names that the namespace has, and the names that their values use as globals, transitively.

    Followed are functions (closures, defaults, what a decorator wrapped), classes (methods, bases), instances,
    bound methods, partials, and containers of such. Names the namespace does not have do not count.
    """
    found: set[str] = set()
    seen: dict[int, Any] = {}  # the values themselves, so that an identity stays theirs
    waiting = [name for name in names if name in namespace]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            used = _used_by(namespace[name], namespace, seen)
            waiting.extend(other for other in used if other in namespace and other not in _OF_EVERY_MODULE)
    return found


def is_name(key: object) -> bool:
    """Whether a key of a namespace is a name: not so in `globals()[5] = 6`."""
    return isinstance(key, str)


def every_name(namespace: dict[str, Any]) -> set[str]:
    """All names that a cell may have bound, which code that looks names up at run time may look up.

    A key that is no text is no name: what it stands for stays on its side.
    """
    return {name for name in namespace if is_name(name) and not name.startswith("_")}


def _used_by(value: Any, namespace: dict[str, Any], seen: dict[int, Any]) -> Iterator[str]:
    """The global names that a value uses, itself or through what it refers to."""
    waiting, opaque, most = [value], _opaque(), len(seen) + MOST_VALUES
    while waiting and len(seen) < most:
        value = waiting.pop()
        if id(value) in seen or type(value) in opaque:
            continue
        seen[id(value)] = value
        if type(value) is types.FunctionType and value.__globals__ is namespace:
            code = value.__code__
            yield from _lookups(code) | names_in_texts(code)
            if code_looks_up_any_name(code):
                yield from every_name(namespace)
        elif value is namespace:
            yield from every_name(namespace)
            continue
        waiting.extend(_parts(value))


@functools.lru_cache(maxsize=1024)
def _lookups(code: types.CodeType) -> frozenset[str]:
    """The names that a function's code, and the code inside it, looks up among the globals."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in _LOOKUPS}
    return frozenset(names).union(*(_lookups(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


@functools.lru_cache(maxsize=1024)
def imported_by(code: types.CodeType) -> frozenset[str]:
    """The modules that a function's code, and the code inside it, imports."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME" and step.argval}
    return frozenset(names).union(*(imported_by(each) for each in code.co_consts if isinstance(each, types.CodeType)))


def _parts(value: Any) -> Iterator[Any]:
    """What a value refers to, as far as it may lead to functions and classes of the notebook."""
    kind = type(value)
    if kind is types.FunctionType:
        yield from _parts_of_function(value)
    elif issubclass(kind, type):
        if value.__module__ == "__main__":
            yield from (kind, *value.__bases__, *_more_than_atoms(vars(value).values()))
    else:
        yield kind
        yield from _items(value)
        yield from _attributes(value)


def _parts_of_function(function: types.FunctionType) -> Iterator[Any]:
    yield from (cell.cell_contents for cell in function.__closure__ or () if cell != _EMPTY)
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()


def _items(value: Any) -> Iterator[Any]:
    """What a container holds, by its base's own iteration."""
    kind = type(value)
    if issubclass(kind, dict):
        yield from _more_than_atoms(dict.keys(value))
        yield from _more_than_atoms(dict.values(value))
        return
    for base in _SEQUENCES:
        if issubclass(kind, base):
            yield from _more_than_atoms(base.__iter__(value))


def _attributes(value: Any) -> Iterator[Any]:
    """What an instance holds in its `__dict__`, its slots, or as one of Python's own kinds of values."""
    for base in type(value).__mro__:
        for name in _MEMBERS.get(base, ()):
            yield object.__getattribute__(value, name)
        its = vars(base)
        if type(its.get("__dict__")) is types.GetSetDescriptorType:
            yield from _more_than_atoms(its["__dict__"].__get__(value).values())
        for slot in its.values() if base.__module__ == "__main__" else ():
            if type(slot) is types.MemberDescriptorType:
                with contextlib.suppress(AttributeError):  # never set
                    yield slot.__get__(value)


def _more_than_atoms(values: Iterable[Any]) -> Iterable[Any]:
    """Those that may refer to something. A million numbers are told at a glance."""
    listed = list(values)
    return [] if _ATOMS.issuperset(map(type, listed)) else [value for value in listed if type(value) not in _ATOMS]


def _opaque() -> set[type]:
    """Types whose values are not looked into: data, and what is not pickled by value."""
    opaque: set[type] = {types.ModuleType, types.CodeType, RemoteValue, *_ATOMS}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if hasattr(numpy, "ndarray"):
        opaque.add(numpy.ndarray)  # type: ignore[union-attr]  # `hasattr` says that it is loaded
    if hasattr(torch, "nn"):
        opaque |= {torch.Tensor, torch.nn.Parameter}  # type: ignore[union-attr]  # likewise
    return opaque
