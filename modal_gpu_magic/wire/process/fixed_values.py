"""Values that no program can change: a copy on the other side stays equal to the value."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import functools
import pathlib
import re
import uuid
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from modal_gpu_magic.wire.process.own_functions import closure_of
from modal_gpu_magic.wire.values.kinds import is_a, module_of, name_of

_ATOMS: Final = frozenset({int, float, complex, bool, str, bytes, type(None), type(...), range, slice})
_VALUES: Final = (
    *(dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone),
    *(decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath, re.Pattern),
)
_OF_LIBRARIES: Final = frozenset(
    {("torch", "device"), ("torch", "dtype"), ("torch", "Size"), ("numpy", "dtype"), ("numpy", "generic")}
)
_WRAPPERS: Final = frozenset({FunctionType, property, classmethod, staticmethod, functools.partial})


def is_fixed(value: Any) -> bool:
    """Whether a value has no part that a program may change, and no part of a class of the notebook."""
    kind = type(value)
    if kind in _ATOMS or is_a(value, ModuleType):
        return True
    if is_a(value, type | enum.Enum):
        return module_of(value if is_a(value, type) else kind) != "__main__"
    if kind is BuiltinFunctionType:
        return value.__self__ is None or is_a(value.__self__, ModuleType | type)
    if kind in (tuple, frozenset):
        return all(map(is_fixed, value))
    if kind in _WRAPPERS:
        return all(map(is_fixed, _parts(value)))
    if kind in _VALUES or kind in (pathlib.PosixPath, pathlib.WindowsPath):
        return True
    return not _OF_LIBRARIES.isdisjoint((module_of(each), name_of(each)) for each in kind.__mro__)


def _parts(value: Any) -> list[Any]:
    """Return what a function, or an object around one, refers to."""
    match value:
        case property():
            return [value.fget, value.fset, value.fdel]
        case classmethod() | staticmethod():
            return [value.__func__]
        case functools.partial():
            return [value.func, *value.args, *value.keywords.values()]
    if value.__module__ != "__main__" and "<locals>" not in value.__qualname__:
        return []  # it is pickled by its name
    own = [content for content in closure_of(value).values() if content is not value]  # a function that calls itself
    return [*own, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *vars(value).values()]
