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
from typing import TYPE_CHECKING, Any, Final, TypeAlias

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
        self._imported_names: Imported = {}
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
            elif name in (names := _names(module)) and is_plain(names[name]):
                values[key] = copy.deepcopy(names[name])
        return values

    def _write(self, key: str, value: Any) -> None:
        module, name = self._found.setdefault(key, _split(key))
        if is_loaded(module):
            _set(sys.modules[module], name, value)
        else:
            self._waiting.setdefault(module, {})[name] = value
            self._imports.watch(module, partial(self._set_waiting, module))

    def _set_waiting(self, module: str) -> None:
        for name, value in self._waiting.pop(module, {}).items():
            _set(sys.modules[module], name, value)

    @property
    def unsent(self) -> tuple[str, ...]:
        """The attributes that cells have set and that are no plain data: `config.model`."""
        found = [(module, name) for module, name in self._found.values() if name in _names(module)]
        return tuple(f"{module}.{name}" for module, name in found if not is_plain(_names(module)[name]))

    def _look(self) -> None:
        """Read the cells that were run since the last look."""
        shell = running_shell()
        cells: list[str] = getattr(getattr(shell, "history_manager", None), "input_hist_parsed", [])
        for cell in cells[self._read_cells :]:
            found = attributes_set(cell, shell.user_ns, self._imported_names)
            self._found.update({f"{module} {name}": (module, name) for module, name in found})
        self._read_cells = len(cells)


def _names(module: str) -> dict[str, Any]:
    """Return the attributes of an imported module; none if it is not imported, or no module is in its place."""
    found: Any = sys.modules.get(module)
    return vars(found) if is_a(found, ModuleType) and is_loaded(module) else {}


def _set(module: ModuleType, name: str, value: Any) -> None:
    """Set an attribute; a list, a set or a dict keeps its identity, since others may have imported it by name."""
    old: Any = vars(module).get(name)
    new = copy.deepcopy(value)
    if type(old) is type(new) and type(old) in _MUTABLE:
        if type(old) is list:
            old[:] = new
        else:
            old.clear()
            old.update(new)
    else:
        setattr(module, name, new)


def _split(key: str) -> tuple[str, str]:
    module, name = key.split(" ", 1)
    return module, name


Imported: TypeAlias = dict[str, tuple[str, str]]
"""Module and attribute by the name that `from MODULE import ATTRIBUTE as NAME` has bound."""


def attributes_set(source: str, namespace: Mapping[str, Any], imported: Imported) -> Iterator[tuple[str, str]]:
    """Yield module and attribute for each attribute of a module of the user that a cell's code may set or change.

    Args:
        source: the cell as Python, after IPython's transformation.
        namespace: the variables of the notebook, after the cell.
        imported: what the cells before have imported by name; what this cell imports is added.
    """
    waiting = deque([source])
    while waiting:
        try:
            tree = ast.parse(waiting.popleft())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        nodes = list(ast.walk(tree))
        for node in nodes:
            imported.update(_imported(node))
            waiting += _body_of_magic(node)
        for node in nodes:
            changed, is_method = _changed(node)
            home = None if changed is None else _home(changed, namespace, imported)
            if home is not None and is_own(home[0]) and (not is_method or _is_mutable(*home)):
                yield home[0].__name__, home[1]


def _imported(node: ast.AST) -> Imported:
    match node:
        case ast.ImportFrom(module=str(module), names=names, level=0):
            return {each.asname or each.name: (module, each.name) for each in names}
    return {}


def _changed(node: ast.AST) -> tuple[ast.expr | None, bool]:
    """Return the expression of what a node sets or may change, and whether by a method: `config.layers.append(4)`."""
    match node:
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            return node, False
        case ast.Call(func=ast.Attribute(value=value)):
            return value, True
        case ast.Call(func=ast.Name(id="setattr"), args=[value, ast.Constant(value=str(name)), _]):
            return ast.Attribute(value, name), False
    return None, False


def _is_mutable(module: ModuleType, name: str) -> bool:
    return type(vars(module).get(name)) in _MUTABLE


def _home(node: ast.expr, namespace: Mapping[str, Any], imported: Imported) -> tuple[ModuleType, str] | None:
    """Return module and attribute with which an expression begins: `config.layers` of `config.layers[0].size`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if type(node) is ast.Attribute and (module := _module(node.value, namespace)) is not None:
            return module, node.attr
        node = node.value
    if type(node) is not ast.Name or node.id not in imported:
        return None
    module_name, name = imported[node.id]
    found = sys.modules.get(module_name)
    is_same = is_a(found, ModuleType) and node.id in namespace and vars(found).get(name) is namespace[node.id]
    return (found, name) if found is not None and is_same else None


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
