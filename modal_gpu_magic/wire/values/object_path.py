"""Find the path to the object in a value that cannot be pickled: `.callbacks[0].lock`. Visits at most 5,000 objects."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.values.attributes import attributes_of
from modal_gpu_magic.wire.values.kinds import is_a, module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_OBJECTS = 5_000
"""Largest number of objects to visit: 10 ms."""
MOST_PARTS = 1_000
"""Largest number of a collection's parts to visit, so that the parts of the first ones are visited as well."""

LONGEST_NAME = 40
"""Longest key in a path, characters."""

_ATOMS = (str, bytes, bytearray, int, float, complex, bool, type(None), types.ModuleType)


def place_of(value: Any, is_it: Callable[[Any], bool]) -> str | None:
    """Return the path from a value to the nearest object that matches; None: no object matches.

    Args:
        value: the value; the path is empty if the value itself matches.
        is_it: returns whether an object matches.
    """
    seen, waiting = {id(value)}, collections.deque([("", value)])
    while waiting:
        path, found = waiting.popleft()
        if is_it(found):
            return path
        for step, part in _parts(found):
            if len(seen) == MOST_OBJECTS:
                break
            if id(part) not in seen and not is_a(part, _ATOMS):
                seen.add(id(part))
                waiting.append((path + step, part))
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the objects that a value refers to, each with its path step. Does not call methods of the value's class."""
    kind = type(value)
    if issubclass(kind, dict):
        for key, part in itertools.islice(dict.items(value), MOST_PARTS):
            yield f"[{_shown(key)}]", part
    elif issubclass(kind, list | tuple):
        for number, part in enumerate(kind.__getitem__(value, slice(MOST_PARTS))):
            yield f"[{number}]", part
    elif issubclass(kind, set | frozenset | collections.deque):
        yield from (("", part) for part in itertools.islice(value, MOST_PARTS))
    elif kind is types.FunctionType:
        yield from _of_function(value)
    elif kind is types.MethodType:
        yield ".__self__", value.__self__
    elif kind is functools.partial:
        yield ".func", value.func
        yield ".args", value.args
        yield ".keywords", value.keywords
    yield from _attributes(value, kind)


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # an empty cell
            yield f".__closure__ ({name})", cell.cell_contents
    for number, default in enumerate(function.__defaults__ or ()):
        yield f".__defaults__[{number}]", default


def _attributes(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    holders = [value] if is_a(value, type) else [each for each in kind.__mro__ if module_of(each) == "__main__"]
    for name, part in ({} if is_a(value, type) else attributes_of(value) or {}).items():
        yield f".{name}", part
    for each in kind.__mro__:
        for name, found in each.__dict__.items():
            if type(found) is types.MemberDescriptorType and module_of(each) not in ("builtins", "types"):
                with contextlib.suppress(AttributeError, TypeError):  # the slot was never set
                    yield f".{name}", found.__get__(value)
    for each in holders:
        for name, part in each.__dict__.items():
            if not name.startswith("__"):
                yield f".{name}", part


def _shown(key: Any) -> str:
    if is_a(key, str | int | float | bool):
        text = repr(key)
        return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"
    return "…"
