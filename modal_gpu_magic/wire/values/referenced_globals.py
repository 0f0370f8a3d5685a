"""Find the names that a cell needs indirectly: the globals that functions and classes of the notebook use.

Values are read without calling any method or property of a user's class.
"""

from __future__ import annotations
import __future__

import collections
import contextlib
import dis
import functools
import logging
import re
import sys
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.values.attributes import attributes_of
from modal_gpu_magic.wire.values.kinds import module_of
from modal_gpu_magic.wire.values.lookups import code_looks_up_any_name, names_in_texts
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.remote import RemoteValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_VALUES = 10_000
"""Largest number of values to visit for one name (30 ms). In a larger structure a function may be missed; the cell's
NameError then says how to send the missing name."""

_LOOKUPS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_GLOBAL"})
"""Opcodes that look up a name in the globals (`LOAD_NAME` in a class body)."""

_OF_EVERY_MODULE = frozenset(vars(types.ModuleType("any"))) | {"__file__", "__builtins__", "__builtin__"}
"""Names that every module's namespace has; a class body looks up `__name__`."""

_TEXTS = __future__.annotations.compiler_flag
"""The flag of code whose annotations are text."""
_NAME = re.compile(r"[^\W\d]\w*")
"""A name in such a text."""

_ATOMS: frozenset[type] = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), range, slice})
"""Types of values that refer to no object of the notebook."""

_EMPTY = types.CellType()
"""An empty closure cell, which equals every empty cell."""

_SEQUENCES = (list, tuple, set, frozenset, collections.deque)

OF_THE_KERNEL = frozenset(
    {"IPython", "comm", "ipykernel", "jupyter_client", "modal", "modal_gpu_magic", "synchronicity", "tornado", "zmq"}
)
"""Packages whose objects are parts of the kernel and of the SDK. They lead to the whole namespace, and are not sent."""

_OF_SHELLS = frozenset({"IPython", "ipykernel"})
"""Packages with classes of shells."""

_PLAIN: frozenset[type] = frozenset({list, tuple, set, frozenset, dict})
"""Types whose values refer to nothing but their items. A subclass may have attributes."""

_MEMBERS: dict[type, tuple[str, ...]] = {
    types.MethodType: ("__func__", "__self__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.partial: ("func", "args", "keywords"),
    collections.defaultdict: ("default_factory",),
}
"""Attributes of built-in types that may contain functions, other than `__dict__`."""


def reach(names: Iterable[str], namespace: dict[str, Any]) -> set[str]:
    """Return the names that the namespace has, and the globals that their values use, transitively.

    The search follows functions (closures, defaults, decorated functions), classes (methods, bases), instances, bound
    methods, partials, and containers of these. Names that the namespace lacks are left out.
    """
    found: set[str] = set()
    seen: dict[int, Any] = {}  # has the values themselves, so that no `id` is reused
    waiting = [name for name in names if name in namespace]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            value = namespace[name]
            used = every_name(namespace) if _is_shell(value, namespace) else _used_by(value, namespace, seen)
            waiting.extend(other for other in used if other in namespace and other not in _OF_EVERY_MODULE)
    return found


def used_by(values: Iterable[Any], namespace: dict[str, Any]) -> set[str]:
    """Return the names of the namespace that functions among values use directly, such as magics of the notebook."""
    seen: dict[int, Any] = {}
    used = (name for value in values for name in _used_by(value, namespace, seen))
    return {name for name in used if name in namespace and name not in _OF_EVERY_MODULE}


def _is_shell(value: Any, namespace: dict[str, Any]) -> bool:
    """Whether a value is the shell whose cells run in the namespace."""
    return _package(type(value)) in _OF_SHELLS and getattr(value, "user_ns", None) is namespace


def _package(kind: type) -> str:
    return module_of(kind).partition(".")[0]


def is_name(key: object) -> bool:
    """Whether a key of a namespace is a name: not so in `globals()[5] = 6`."""
    return isinstance(key, str)


def every_name(namespace: dict[str, Any]) -> set[str]:
    """Return all public names, for code that may look up any name at run time.

    A key that is not text is no name: its value is not sent.
    """
    return {name for name in namespace if is_name(name) and not name.startswith("_")}


def _used_by(value: Any, namespace: dict[str, Any], seen: dict[int, Any]) -> Iterator[str]:
    """Yield the global names that a value uses, directly or through the objects that it refers to."""
    waiting, opaque, most = [value], _opaque(), len(seen) + MOST_VALUES
    while waiting and len(seen) < most:
        value = waiting.pop()
        if id(value) in seen:
            continue
        if value is namespace:
            seen[id(value)] = value
            yield from every_name(namespace)
            continue
        try:
            if type(value) in opaque or _package(type(value)) in OF_THE_KERNEL:
                continue
            parts, annotated = list(_parts(value)), list(_annotated(value, namespace))
        except BaseException as error:  # noqa: BLE001 - of a metaclass whose `__hash__` fails
            pass_on(error)
            continue
        seen[id(value)] = value
        waiting += parts
        if type(value) is types.FunctionType and value.__globals__ is namespace:
            code = value.__code__
            yield from _lookups(code) | names_in_texts(code)
            if code_looks_up_any_name(code):
                yield from every_name(namespace)
        yield from annotated


def _annotated(value: Any, namespace: dict[str, Any]) -> Iterator[str]:
    """Yield the names in annotations that are text (`from __future__ import annotations`): a library may resolve them.

    Other annotations are objects, or are not evaluated yet (Python 3.14).
    """
    if type(value) is types.FunctionType:
        is_text = value.__globals__ is namespace and value.__code__.co_flags & _TEXTS
        annotations = value.__annotations__ if is_text else None
    else:
        is_class = issubclass(type(value), type) and module_of(value) == "__main__"
        annotations = vars(value).get("__annotations__") if is_class else None
    for text in annotations.values() if type(annotations) is dict else ():
        if type(text) is str:
            yield from _NAME.findall(text)


@functools.lru_cache(maxsize=1024)
def _lookups(code: types.CodeType) -> frozenset[str]:
    """Return the global names that a function's code and nested code look up."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in _LOOKUPS}
    return frozenset(names).union(*(_lookups(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


@functools.lru_cache(maxsize=1024)
def imported_by(code: types.CodeType) -> frozenset[str]:
    """Return the modules that a function's code and nested code import."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME" and step.argval}
    return frozenset(names).union(*(imported_by(each) for each in code.co_consts if isinstance(each, types.CodeType)))


def _parts(value: Any) -> Iterator[Any]:
    """Yield the objects of a value that may lead to functions and classes of the notebook."""
    kind = type(value)
    if kind in _PLAIN:
        yield from _more_than_atoms(value)
        if kind is dict:
            yield from _more_than_atoms(value.values())
    elif kind is types.FunctionType:
        yield from _parts_of_function(value)
    elif issubclass(kind, type):
        if module_of(value) == "__main__":
            yield from (kind, *value.__bases__, *_more_than_atoms(vars(value).values()))
    elif issubclass(kind, logging.Logger):
        yield from _parts_of_logger(value)
    else:
        yield kind
        yield from _items(value)
        yield from _attributes(value)


def _parts_of_logger(logger: logging.Logger) -> Iterator[Any]:
    """Yield the filters of a logger and the handlers that its messages reach, without the manager of all loggers."""
    yield from logger.filters
    each: logging.Logger | None = logger
    while each is not None:
        yield from each.handlers
        each = each.parent if each.propagate else None


def _parts_of_function(function: types.FunctionType) -> Iterator[Any]:
    yield from (cell.cell_contents for cell in function.__closure__ or () if cell != _EMPTY)
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()


def _items(value: Any) -> Iterator[Any]:
    """Yield the items of a container by the iteration of its built-in base."""
    kind = type(value)
    if issubclass(kind, dict):
        yield from _more_than_atoms(dict.keys(value))
        yield from _more_than_atoms(dict.values(value))
        return
    for base in _SEQUENCES:
        if issubclass(kind, base):
            yield from _more_than_atoms(base.__iter__(value))


def _attributes(value: Any) -> Iterator[Any]:
    """Yield the values in the `__dict__`, the slots and the built-in attributes of an instance."""
    yield from _more_than_atoms((attributes_of(value) or {}).values())
    for base in type(value).__mro__:
        for name in _MEMBERS.get(base, ()):
            yield object.__getattribute__(value, name)
        for slot in vars(base).values() if module_of(base) == "__main__" else ():
            if type(slot) is types.MemberDescriptorType:
                with contextlib.suppress(AttributeError):  # the slot was never set
                    yield slot.__get__(value)


def _more_than_atoms(values: Iterable[Any]) -> Iterable[Any]:
    """Return the values that are no atoms. A list of a million numbers is handled fast."""
    listed = list(values)
    return [] if _ATOMS.issuperset(map(type, listed)) else [value for value in listed if type(value) not in _ATOMS]


def _opaque() -> set[type]:
    """Return the types whose values are not searched: data, and objects that are not pickled by value."""
    opaque: set[type] = {types.ModuleType, types.CodeType, RemoteValue, *_ATOMS}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if hasattr(numpy, "ndarray"):
        opaque.add(numpy.ndarray)  # type: ignore[union-attr]  # `hasattr` has checked that numpy is imported
    if hasattr(torch, "nn"):
        opaque |= {torch.Tensor, torch.nn.Parameter}  # type: ignore[union-attr]  # likewise
    return opaque
