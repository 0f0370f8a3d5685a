"""Check that a message has the types that its dataclass declares, before any code reads its fields.

What arrives is a pickle, so that a field may hold anything. One test per dataclass is built from its annotations.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from modal_gpu_magic.errors import DamagedError

_Test = Callable[[Any], bool]
_Message = TypeVar("_Message")


def checked(value: object, kind: type[_Message]) -> _Message:
    """Return `value` if it is a `kind` whose fields have the declared types.

    Raises:
        DamagedError: the value is another one.
    """
    hint: Any = kind
    if not _test(hint)(value):
        raise DamagedError(f"a {kind.__name__} was damaged in transit; run the cell again.")
    return value  # type: ignore[return-value]  # the test has proved the type


@functools.cache
def _test(hint: Any) -> _Test:
    """Return the test of an annotation."""
    if hint is Any:
        return lambda _: True
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint)
    make = _OF_ORIGIN.get(get_origin(hint))
    if make is not None:
        return make(get_args(hint))
    if hint is float:
        return lambda value: type(value) in (float, int)
    exact = type(None) if hint is None else hint
    return lambda value: type(value) is exact


def _dataclass(kind: Any) -> _Test:
    hints = get_type_hints(kind)
    fields = [(each.name, _test(hints[each.name])) for each in dataclasses.fields(kind)]

    def test(value: Any) -> bool:
        return type(value) is kind and all(is_right(getattr(value, name, _MISSING)) for name, is_right in fields)

    return test


_MISSING = object()
"""Stands for a field that was never set: a damaged pickle may leave one out."""


def _literal(arguments: tuple[Any, ...]) -> _Test:
    allowed = frozenset(arguments)
    return lambda value: type(value) is str and value in allowed


def _union(arguments: tuple[Any, ...]) -> _Test:
    tests = tuple(map(_test, arguments))
    return lambda value: any(test(value) for test in tests)


def _tuple(arguments: tuple[Any, ...]) -> _Test:
    if arguments[1:] == (Ellipsis,):
        each = _test(arguments[0])
        return lambda value: type(value) is tuple and all(map(each, value))
    tests = tuple(map(_test, arguments))
    return lambda value: (
        type(value) is tuple
        and len(value) == len(tests)
        and all(test(item) for test, item in zip(tests, value, strict=True))
    )


def _dict(arguments: tuple[Any, ...]) -> _Test:
    key, item = map(_test, arguments)
    return lambda value: type(value) is dict and all(map(key, value)) and all(map(item, value.values()))


def _frozenset(arguments: tuple[Any, ...]) -> _Test:
    each = _test(arguments[0])
    return lambda value: type(value) is frozenset and all(map(each, value))


def _list(arguments: tuple[Any, ...]) -> _Test:
    each = _test(arguments[0])
    return lambda value: type(value) is list and all(map(each, value))


_OF_ORIGIN: dict[Any, Callable[[tuple[Any, ...]], _Test]] = {
    Literal: _literal,
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    dict: _dict,
    frozenset: _frozenset,
    list: _list,
}
