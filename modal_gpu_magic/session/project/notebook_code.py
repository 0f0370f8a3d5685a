"""Collect the notebook's code and texts that a cell uses: functions, methods, and variables that hold paths."""

from __future__ import annotations

import functools
import inspect
import textwrap
import tokenize
import types
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.plan.cell.cellsource import parse_cell
from modal_gpu_magic.plan.cell.literals import looks_like_a_path, may_be_a_name
from modal_gpu_magic.plan.cell.references import Reference, of_tree
from modal_gpu_magic.wire.values.kinds import module_of

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Iterator, Mapping

MOST_ITEMS = 100
"""Maximum number of items or attributes of a value that are searched for paths."""
MAX_PATH_LENGTH = 1024
"""Maximum length of a text that may be a path, characters."""
_DATA = frozenset({"numpy", "pandas", "torch"})
"""Packages whose values are not searched: they hold no notebook code, and searching them for paths is slow."""
_PLAIN = (int, float, complex, bool, bytes, type(None))


class NotebookCode:
    """The code, texts and paths that a cell reaches through the names that it reads.

    Attributes:
        texts: the values that are texts or paths, by name.
    """

    def __init__(self, names: Iterable[str], namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._codes: dict[types.CodeType, None] = {}
        self.texts: dict[str, str] = {}
        values: list[Any] = []
        waiting, seen = list(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen or name not in namespace:
                continue
            seen.add(name)
            value = namespace[name]
            if type(value) in _PLAIN or module_of(type(value)).partition(".")[0] in _DATA:
                continue
            if (text := _text(value)) is not None:
                self.texts[name] = text
            values.append(value)
            for code in _codes_of(value, namespace):
                if code not in self._codes:
                    self._codes[code] = None
                    waiting += _names(code)
        self._values = values

    @property
    def references(self) -> list[Reference]:
        """The references in the code of functions and in the values, each once."""
        found: dict[Reference, None] = {}
        for code in self._codes:
            tree = _tree(code)
            if tree is not None:
                found.update(dict.fromkeys(of_tree(tree, self.texts)))
        found.update((Reference(path), None) for value in self._values for path in _paths(value))
        found.update((Reference(text, "word"), None) for text in self.texts.values() if may_be_a_name(text))
        return list(found)


def _text(value: Any) -> str | None:
    if issubclass(type(value), PurePath):
        return str(value)
    return value if type(value) is str and 0 < len(value) <= MAX_PATH_LENGTH else None


def _paths(value: Any, *, deep: bool = True) -> Iterator[str]:
    """Yield the texts that look like paths: the value itself, its items, its attributes."""
    if issubclass(type(value), _PLAIN):
        return
    text = _text(value)
    if text is not None:
        if issubclass(type(value), PurePath) or looks_like_a_path(text):
            yield text
    elif deep:
        for item in islice(_items(value), MOST_ITEMS):
            yield from _paths(item, deep=False)


def _items(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return value.values()
    if type(value) in (list, tuple, set, frozenset):
        return value  # type: ignore[no-any-return]  # the types are checked
    kind = type(value)
    if module_of(kind) in ("__main__", "argparse", "types") and type(vars_of(value)) is dict:
        return vars_of(value).values()  # type: ignore[no-any-return]  # likewise
    return ()


def vars_of(value: Any) -> Any:
    """The `__dict__` of an object, read without running code of its class; None: the object has none."""
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


def _codes_of(value: Any, namespace: Mapping[str, Any]) -> Iterator[types.CodeType]:
    """Yield the code of a function, of a class's methods or of an instance's class, if the notebook defines them."""
    if issubclass(type(value), types.FunctionType):
        if value.__globals__ is namespace:
            yield value.__code__
        yield from _codes_of(vars(value).get("__wrapped__"), namespace)
    elif issubclass(type(value), types.MethodType):
        yield from _codes_of(value.__func__, namespace)
    elif issubclass(type(value), functools.partial):
        yield from _codes_of(value.func, namespace)
    elif issubclass(type(value), type):
        for base in type.mro(value) if module_of(value) == "__main__" else ():
            for each in vars(base).values() if module_of(base) == "__main__" else ():
                yield from _codes_of(_function_of(each), namespace)
    elif module_of(type(value)) == "__main__":
        yield from _codes_of(type(value), namespace)


def _function_of(member: Any) -> types.FunctionType | None:
    """The function of a class's member; None: the member is not a function."""
    if type(member) in (staticmethod, classmethod):
        member = member.__func__
    elif type(member) is property:
        member = member.fget
    return member if type(member) is types.FunctionType else None


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> frozenset[str]:
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return frozenset(code.co_names).union(*map(_names, inner))


@functools.lru_cache(maxsize=512)
def _tree(code: types.CodeType) -> ast.Module | None:
    """The syntax tree of a function's source; None: the source is unknown, or is part of a statement (a lambda's)."""
    try:
        lines, _ = inspect.getsourcelines(code)
    except (OSError, TypeError, SyntaxError, tokenize.TokenError, IndexError):
        return None
    return parse_cell(textwrap.dedent("".join(lines)))
