"""The attributes of modules and classes that cells set, read from the text of the cells as IPython has kept it."""

from __future__ import annotations

import ast
import sys
from collections import deque
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from modal_gpu_magic.wire.process.ipython import running_shell
from modal_gpu_magic.wire.process.originals import MISSING, attribute_of, has_own_settings
from modal_gpu_magic.wire.process.plain_data import MUTABLE, is_plain
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.library_modules import is_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RUN_PYTHON: Final = frozenset({"capture", "prun", "time", "timeit"})
"""Cell magics that run their body in the notebook's namespace."""

Holder: TypeAlias = "ModuleType | type"
Imported: TypeAlias = dict[str, tuple[str, str]]
"""Module and attribute by the name that `from MODULE import ATTRIBUTE as NAME` has bound."""


class Assignment(NamedTuple):
    """An attribute that a cell's code may set or change.

    Attributes:
        holder: the module or the class.
        name: the attribute.
        is_direct: the code binds the attribute itself (`config.lr = 1`), and not a part (`config.layers[0] = 1`).
    """

    holder: Holder
    name: str
    is_direct: bool

    @property
    def is_of_plain_data(self) -> bool:
        """Whether the attribute is a list, a set or a dict of plain data, which may be changed in place."""
        value = vars(self.holder).get(self.name)
        return type(value) in MUTABLE and is_plain(value)

    @property
    def is_of_notebook(self) -> bool:
        """Whether the holder is the notebook itself or a class of the notebook, which is a value as any other."""
        return self.place[0].partition(":")[0] == "__main__"

    @property
    def place(self) -> tuple[str, str]:
        """The holder's name, `MODULE` or `MODULE:CLASS`, and the attribute."""
        of_class = "" if is_a(self.holder, ModuleType) else f"{self.holder.__module__}:{self.holder.__qualname__}"
        return of_class or self.holder.__name__, self.name


class Assignments:
    """The assignments in the cells that this process's shell has run.

    Attributes:
        in_own_modules: module and attribute of the user's modules, by `MODULE ATTRIBUTE`.
        bound: holder and attribute of all modules and classes where a cell has bound the attribute itself, or changed
            its plain data, by `MODULE[:CLASS] ATTRIBUTE`.
    """

    def __init__(self) -> None:
        self.in_own_modules: dict[str, tuple[str, str]] = {}
        self.bound: dict[str, tuple[str, str]] = {}
        self._read_cells = 0
        self._imported: Imported = {}

    def has(self, key: str) -> bool:
        """Whether a cell has set the attribute, or a part of it: `MODULE[:CLASS] ATTRIBUTE`."""
        return key in self.in_own_modules or key in self.bound

    def look(self) -> None:
        """Read the cells that were run since the last look."""
        shell = running_shell()
        cells: list[str] = getattr(getattr(shell, "history_manager", None), "input_hist_parsed", [])
        for cell in cells[self._read_cells :]:
            for each in assignments(cell, shell.user_ns, self._imported):
                if is_a(each.holder, ModuleType) and is_own(each.holder):
                    self.in_own_modules[" ".join(each.place)] = each.place
                if (each.is_direct or each.is_of_plain_data) and not each.is_of_notebook:
                    self.bound[" ".join(each.place)] = each.place
        self._read_cells = len(cells)


def split(key: str) -> tuple[str, str]:
    """Return holder and attribute of an item's key."""
    holder, name = key.split(" ", 1)
    return holder, name


def assignments(source: str, namespace: Mapping[str, Any], imported: Imported) -> Iterator[Assignment]:
    """Yield the attributes that a cell's code may set or change.

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
            if changed is None:
                continue
            if not is_method and (held := _held(changed, namespace)) is not None:
                yield Assignment(*held, is_direct=True)
            elif (home := _home(changed, namespace, imported)) is not None and (not is_method or _is_mutable(*home)):
                yield Assignment(*home, is_direct=False)


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
    return type(vars(module).get(name)) in MUTABLE


def _held(node: ast.expr, namespace: Mapping[str, Any]) -> tuple[Holder, str] | None:
    """Return holder and attribute of an expression such as `config.lr` or `pandas.DataFrame.peek`."""
    if type(node) is not ast.Attribute:
        return None
    holder = _object(node.value, namespace)
    return _setting(node, namespace) if holder is None else (holder, node.attr)


def _setting(node: ast.Attribute, namespace: Mapping[str, Any]) -> tuple[Holder, str] | None:
    """Return module and name of a setting within a group, as in `torch._inductor.config.triton.cudagraphs`."""
    if type(node.value) is not ast.Attribute:
        return None
    name, holder = f"{node.value.attr}.{node.attr}", _object(node.value.value, namespace)
    is_setting = has_own_settings(holder) and attribute_of(holder, name) is not MISSING
    return (holder, name) if is_setting else None


def _home(node: ast.expr, namespace: Mapping[str, Any], imported: Imported) -> tuple[ModuleType, str] | None:
    """Return module and attribute with which an expression begins: `config.layers` of `config.layers[0].size`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if type(node) is ast.Attribute and is_a(module := _object(node.value, namespace), ModuleType):
            return module, node.attr
        node = node.value
    if type(node) is not ast.Name or node.id not in imported:
        return None
    module_name, name = imported[node.id]
    found = sys.modules.get(module_name)
    is_same = is_a(found, ModuleType) and node.id in namespace and vars(found).get(name) is namespace[node.id]
    return (found, name) if found is not None and is_same else None


def _object(node: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """Return the module or the class that an expression such as `package.config` denotes; None for others."""
    match node:
        case ast.Name(id=name):
            found = namespace.get(name)
        case ast.Attribute(value=value, attr=name):
            above = _object(value, namespace)
            found = None if above is None else vars(above).get(name)
        case _:
            found = None
    return found if is_a(found, ModuleType | type) else None


def _body_of_magic(node: ast.AST) -> list[str]:
    """Return the body of a cell magic that runs Python: IPython has made a call with the body's text of it."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr="run_cell_magic"),
            args=[ast.Constant(value=str(name)), _, ast.Constant(value=str(body))],
        ) if name in _RUN_PYTHON:
            return [body]
    return []
