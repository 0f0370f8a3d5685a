"""The attributes of the user's modules that cells set: `config.lr = 0.5` holds on both sides, whichever has set it.

A module of the user runs on each side from its file, so its attributes begin alike. Which ones cells set is read from
the text of the cells, as IPython has kept them; from then on an attribute is compared like any other state. Only plain
data is sent: another object would be a copy, and the objects of a module refer to one another.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections import deque
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.import_hook import ImportWatch, is_loaded
from modal_gpu_magic.wire.process.ipython import running_shell
from modal_gpu_magic.wire.process.process_state import State
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.library_modules import is_of_library

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from modal_gpu_magic.wire.process.process_state import Items

MODULE_ATTRIBUTES: Final = "module attributes"
MOST_ITEMS: Final = 1000
"""Items in an attribute's value that is still sent: a setting, no data."""
MOST_CHARACTERS: Final = 10_000
"""Characters or bytes of a text in such a value."""

_ATOMS: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
_MUTABLE: Final = frozenset({list, set, dict})
_RUN_PYTHON: Final = frozenset({"capture", "prun", "time", "timeit"})
"""Cell magics that run their body in the notebook's namespace."""


class ModuleAttributes:
    """Finds the attributes of the user's modules that cells have set, reads and writes them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str]] = {}
        """Module and attribute by the item's key."""
        self._read_cells = 0
        """Number of the shell's cells whose text was read."""
        self._waiting: dict[str, dict[str, Any]] = {}
        """By the name of a module that is not imported yet: the attributes to set then."""
        self._imports = ImportWatch()

    @property
    def state(self) -> State:
        """The state for the table: an item an attribute, by `MODULE ATTRIBUTE`."""
        return State(MODULE_ATTRIBUTES, self._read, self._write)

    def _read(self, asked: Collection[str]) -> Items:
        self._look()
        for key in asked:
            self._found.setdefault(key, _split(key))
        values: Items = {}
        for key, (module, name) in self._found.items():
            if name in self._waiting.get(module, ()):
                values[key] = self._waiting[module][name]
            elif is_loaded(module) and name in (names := vars(sys.modules[module])) and is_plain(names[name]):
                values[key] = copy.deepcopy(names[name])
        return values

    def _write(self, key: str, value: Any) -> None:
        module, name = self._found.setdefault(key, _split(key))
        if is_loaded(module):
            setattr(sys.modules[module], name, value)
        else:
            self._waiting.setdefault(module, {})[name] = value
            self._imports.watch(module, partial(self._imported, module))

    def _imported(self, module: str) -> None:
        for name, value in self._waiting.pop(module, {}).items():
            setattr(sys.modules[module], name, value)

    def _look(self) -> None:
        """Read the cells that were run since the last look."""
        shell = running_shell()
        cells: list[str] = getattr(getattr(shell, "history_manager", None), "input_hist_parsed", [])
        new = [cell for cell in cells[self._read_cells :] if "." in cell]
        self._read_cells = len(cells)
        if not new or not any(
            map(is_own, [each for each in [*shell.user_ns.values()] if issubclass(type(each), ModuleType)])
        ):
            return
        for cell in new:
            self._found.update(
                {f"{module} {name}": (module, name) for module, name in attributes_set(cell, shell.user_ns)}
            )


def _split(key: str) -> tuple[str, str]:
    module, name = key.split(" ", 1)
    return module, name


def attributes_set(source: str, namespace: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield module and attribute for each attribute of a module of the user that a cell's code may set.

    Args:
        source: the cell as Python, after IPython's transformation.
        namespace: the variables of the notebook, after the cell.
    """
    waiting = deque([source])
    while waiting:
        try:
            tree = ast.parse(waiting.popleft())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            waiting += _body_of_magic(node)
            target = _target(node)
            module = None if target is None else _module(target[0], namespace)
            if target is not None and module is not None and is_own(module) and _is_set(node, module, target[1]):
                yield module.__name__, target[1]


def _target(node: ast.AST) -> tuple[ast.expr, str] | None:
    """Return the expression of an object, and the name of its attribute, if a node may set it or change its value."""
    match node:
        case ast.Attribute(value=value, attr=name, ctx=ast.Store()):
            return value, name
        case ast.Subscript(value=ast.Attribute(value=value, attr=name), ctx=ast.Store() | ast.Del()):
            return value, name
        case ast.AugAssign(target=ast.Attribute(value=value, attr=name)):
            return value, name
        case ast.Call(func=ast.Attribute(value=ast.Attribute(value=value, attr=name))):
            return value, name
        case ast.Call(func=ast.Name(id="setattr"), args=[value, ast.Constant(value=str(name)), _]):
            return value, name
    return None


def _is_set(node: ast.AST, module: ModuleType, name: str) -> bool:
    """Whether a node sets an attribute: a call of a method, such as `config.layers.append(4)`, sets mutable ones."""
    is_method = type(node) is ast.Call and type(node.func) is ast.Attribute
    return not is_method or type(vars(module).get(name)) in _MUTABLE


def _module(node: ast.expr, namespace: Mapping[str, Any]) -> ModuleType | None:
    """Return the module that an expression such as `config` or `package.config` denotes."""
    match node:
        case ast.Name(id=name):
            found = namespace.get(name)
        case ast.Attribute(value=value, attr=name):
            above = _module(value, namespace)
            found = None if above is None else vars(above).get(name)
        case _:
            found = None
    return found if is_a(found, ModuleType) else None


def _body_of_magic(node: ast.AST) -> list[str]:
    """Return the body of a cell magic that runs Python: IPython has made a call with the body's text of it."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr="run_cell_magic"),
            args=[ast.Constant(value=str(name)), _, ast.Constant(value=str(body))],
        ) if name in _RUN_PYTHON:
            return [body]
    return []


def is_own(module: ModuleType) -> bool:
    """Whether a module is the user's own: it has a file outside of the standard library and of installed packages."""
    names = vars(module)
    file, package = names.get("__file__"), str(names.get("__name__", "")).partition(".")[0]
    return type(file) is str and package not in ("modal_gpu_magic", "__main__") and not is_of_library(file)


def is_plain(value: Any) -> bool:
    """Whether a value is plain data: at most MOST_ITEMS items, no text over MOST_CHARACTERS, no container in itself."""
    waiting, count = [value], 1
    while waiting:
        value = waiting.pop()
        if type(value) in _CONTAINERS:
            count += len(value)
            if count > MOST_ITEMS:
                return False
            waiting += [*value.keys(), *value.values()] if type(value) is dict else value
        elif type(value) not in _ATOMS or (type(value) in (str, bytes) and len(value) > MOST_CHARACTERS):
            return False
    return True
