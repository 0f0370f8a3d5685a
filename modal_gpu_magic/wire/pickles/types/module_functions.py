"""Find the functions that a module has under another name than their own, such as what a decorator has made.

A copy of such a function would have variables of its own: a counter of the module, the magics that IPython notes.
"""

from __future__ import annotations

import ast
import functools
import importlib
import operator
import os
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.library_modules import is_own

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOWHERE: Final[weakref.WeakKeyDictionary[Any, int]] = weakref.WeakKeyDictionary()
"""Functions that no module of their package has, with the number of modules that were loaded then."""


def place_of(function: types.FunctionType) -> tuple[str, str] | None:
    """Return the module that has a function under another name than the function's own, and the name; None: no module.

    It is the function's own module, or one of the same package that has the function under its last name. A module of
    the user has it if the module's text makes it: the other side runs the same text, and no call of this side.
    """
    module, name = function.__module__, function.__name__
    if type(module) is not str or module == "__main__":
        return None
    found = next((each for each, value in list(_variables_of(module).items()) if value is function), None)
    if found is not None:
        return (module, found) if _makes(module, found) else None
    if _NOWHERE.get(function) == len(sys.modules):
        return None
    package = module.partition(".")[0]
    for other in [each for each in sys.modules if type(each) is str and each.partition(".")[0] == package]:
        if _variables_of(other).get(name) is function:
            return (other, name) if _makes(other, name) else None
    _NOWHERE[function] = len(sys.modules)
    return None


def named_global(module: str, name: str) -> Any:
    """Return a module's global by its dotted name."""
    return operator.attrgetter(name)(importlib.import_module(module))


def _variables_of(module: str) -> dict[str, Any]:
    found: Any = sys.modules.get(module)
    return vars(found) if is_a(found, types.ModuleType) else {}


def _makes(module: str, name: str) -> bool:
    """Whether a module's text makes what the module has under a name; of a library's module: yes."""
    found: Any = sys.modules[module]
    if not is_own(found):
        return True
    try:
        return name in _made_by_text(found.__file__, os.stat(found.__file__).st_mtime_ns)  # noqa: PTH116
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False


@functools.lru_cache(maxsize=64)
def _made_by_text(path: str, _changed: int) -> frozenset[str]:
    """Return the names that a module's text binds to what a decorator or a call makes, and that no function binds."""
    with open(path, "rb") as file:  # noqa: PTH123
        tree = ast.parse(file.read())
    made = {name for statement in tree.body for name in _made_by(statement)}
    return frozenset(made.difference(*(node.names for node in ast.walk(tree) if isinstance(node, ast.Global))))


def _made_by(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Assign(targets=targets, value=ast.Call() | ast.Lambda() | ast.Name() | ast.Attribute()):
            yield from (each.id for each in targets if isinstance(each, ast.Name))
