"""Find names that a cell looks up at run time: `globals()["v"]`, `"{v}".format(**globals())`, `__main__.v`.

If a string literal has the name, the name is found; else the cell may look up any name. The kind `names` is an
expression whose value is the notebook's namespace, the kind `main` one whose value is the module `__main__`.
`plan.cell.embedded` handles calls that run a string (`exec`, magics).
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modal_gpu_magic.plan.cell.embedded import Callee, Piece, text_of
from modal_gpu_magic.plan.cell.texts import last_word
from modal_gpu_magic.wire.values.lookups import (
    FROM_MAIN_MODULE,
    INTERACTIVE,
    MAIN_MODULE,
    NAMESPACE_ATTRIBUTES,
    REGISTRY,
    filled_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modal_gpu_magic.plan.cell.ledger import Ledger
    from modal_gpu_magic.plan.cell.texts import KnownTexts, Texts

_Kind: TypeAlias = Literal["names", "main"] | None

ANY = Piece("", "any")

_NAMESPACE_CALLS = frozenset({"globals", "vars", "locals", "dir"})
"""Functions that return the namespace if called without arguments; except `globals`, only at the top level."""

_OF_OBJECT = frozenset({"vars", "dir"})
"""Functions that return the names of their argument."""

_COPIES = frozenset({"list", "tuple", "set", "frozenset", "sorted", "dict", "iter"})
"""Functions that return the names of a namespace given as argument."""

_VIEWS = frozenset({"keys", "copy"})
"""Methods of a namespace that return its names."""

_METHODS = {
    "get": ("name",),
    "__getitem__": ("name",),
    "__contains__": ("name",),
    "setdefault": ("name", "bind"),
    "pop": ("name", "delete"),
    "__delitem__": ("name", "delete"),
    "__setitem__": ("bind",),
}
"""Effects of a namespace's method on the name that is its first argument."""

_ATTRIBUTE_FUNCTIONS = {
    "getattr": ("name",),
    "hasattr": ("name",),
    "setattr": ("bind",),
    "delattr": ("name", "delete"),
}
"""The same for functions whose first argument is the module `__main__`."""

_FILLS = frozenset({"format", "format_map", "substitute", "safe_substitute", "render", "vformat"})
"""Functions that fill names into a template, which is their object or an argument."""

_WITH_NAMESPACE = frozenset({"exec", "eval", "evaluate", "query", "timeit", "repeat", "Timer", "run", "sqldf"})
"""Functions that run a string in a namespace argument; `plan.cell.embedded` reads the string."""

_OF_MODULES = frozenset({"__name__", "__doc__", "__file__", "__spec__", "__loader__", "__package__", "__builtins__"})
"""Attributes of `__main__` that are no variables of the notebook's."""

_ELSEWHERE = frozenset({"apply", "map", "applymap", "transform", "agg", "pipe", "parallel_apply", "progress_apply"})
"""Methods of libraries that call an `eval` argument in the library's own namespace."""

_PASSED_ON = frozenset({"globals", "eval", "exec"})
"""Functions that may look up any name even if they are only passed as argument."""

_ABBREVIATIONS = {"pd": "pandas", "ne": "numexpr", "np": "numpy"}
"""Modules by their usual alias, for aliases that the cell does not import."""


class DynamicNames:
    """Inspects each expression of a cell before its parts are visited.

    Args:
        ledger: has the current scope.
        texts: the known strings of the cell.
    """

    def __init__(self, ledger: Ledger, texts: KnownTexts) -> None:
        self._ledger, self._texts = ledger, texts
        self._settled: set[int] = set()
        self._aliases: dict[str, _Kind] = {}
        self._origins: dict[str, str] = {}
        self._table: dict[type[ast.AST], Callable[[Any], Iterator[Piece]]] = {
            ast.Assign: self._assign,
            ast.AugAssign: self._augmented,
            ast.Attribute: self._attribute,
            ast.BinOp: self._filled_by_percent,
            ast.Call: self._call,
            ast.Compare: self._compare,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.Name: self._name,
            ast.Subscript: self._subscript,
        }

    def look(self, node: ast.AST) -> Iterator[Piece]:
        """Yield the dynamic name operations of a node, without those of its parts."""
        look = self._table.get(type(node))
        return look(node) if look is not None else iter(())

    def path(self, node: ast.AST) -> str:
        """Return the dotted path of an expression by the cell's imports: `u.main` is `unittest.main`."""
        if isinstance(node, ast.Attribute):
            above = self.path(node.value)
            return f"{above}.{node.attr}" if above else ""
        if isinstance(node, ast.Name):
            return self._origins.get(node.id) or _ABBREVIATIONS.get(node.id, node.id)
        return ""

    def callee(self, call: ast.Call) -> Callee:
        """Return the facts about a call."""
        return Callee(self.path(call.func), self._builtin(call.func), lambda node: self._kind(node) == "names")

    # -- what an expression gives --------------------------------------------------------------------------------------

    def _kind(self, node: ast.AST) -> _Kind:
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                return "main" if name == MAIN_MODULE else self._aliases.get(name)
            case ast.Call():
                return self._kind_of_call(node)
            case ast.Attribute(ctx=ast.Load()):
                return self._kind_of_attribute(node)
            case ast.Subscript(value=value, slice=ast.Constant(value="__main__") | ast.Name(id="__name__")):
                return "main" if _is_modules(value) else None
        return None

    def _kind_of_call(self, node: ast.Call) -> _Kind:
        name = self._builtin(node.func)
        match node:
            case ast.Call(args=[], keywords=[]) if name in _NAMESPACE_CALLS:
                return "names" if self._ledger.at_top or name == "globals" else None
            case ast.Call(func=ast.Attribute(value=inner, attr=attr), args=[]) if attr in _VIEWS:
                return "names" if self._kind(inner) == "names" else None
            case ast.Call(func=func, args=[ast.Constant(value="__main__"), *_]):
                by_name = last_word(func) in ("__import__", "import_module")
                return "main" if by_name or _is_modules(getattr(func, "value", None)) else None
            case ast.Call(args=[inner]) if name in _OF_OBJECT:
                return "names" if self._kind(inner) == "main" else None
            case ast.Call(args=[inner, *_]) if name in _COPIES:
                return "names" if self._kind(inner) == "names" else None
        return None

    def _kind_of_attribute(self, node: ast.Attribute) -> _Kind:
        if node.attr in NAMESPACE_ATTRIBUTES:
            return "names"
        if node.attr == "__dict__":
            return "names" if self._kind(node.value) == "main" else None
        return "main" if node.attr == "user_module" else None

    def _builtin(self, node: ast.AST) -> str:
        """Return the name of the builtin function that an expression refers to; empty: no builtin."""
        match node:
            case ast.Name(id=name) if self._ledger.finds_builtin(name):
                return name
            case ast.Attribute(value=ast.Name(id="builtins"), attr=attr):
                return attr
        return ""

    def _settle(self, *nodes: ast.AST) -> None:
        """Mark expressions as completely handled, so that they do not count as a lookup of any name."""
        self._settled.update(id(part) for node in nodes for part in ast.walk(node))

    def _named(self, key: ast.AST, doing: tuple[str, ...]) -> Iterator[Piece]:
        """Yield the operations on the names that are the value of an expression."""
        names = self._texts.of(key)
        if names is None:
            if doing != ("bind",):
                yield ANY
            return
        for how in doing:
            yield from (Piece(name, how) for name in names)  # type: ignore[arg-type]  # the tables' own words

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _name(self, node: ast.Name) -> Iterator[Piece]:
        if id(node) in self._settled or not isinstance(node.ctx, ast.Load):
            return
        if self._kind(node) or (node.id in _PASSED_ON and self._ledger.finds_builtin(node.id)):
            yield ANY

    def _subscript(self, node: ast.Subscript) -> Iterator[Piece]:
        if id(node) in self._settled:
            return
        if self._kind(node):
            yield ANY
        elif self._kind(node.value) == "names":
            self._settle(node.value)
            doing = {ast.Load: ("name",), ast.Store: ("bind",), ast.Del: ("name", "delete")}[type(node.ctx)]
            yield from self._named(node.slice, doing)

    def _attribute(self, node: ast.Attribute) -> Iterator[Piece]:
        if id(node) in self._settled:
            return
        if self._kind(node) or node.attr == REGISTRY:
            yield ANY
        elif self._kind(node.value) == "main":
            self._settle(node.value)
            doing = {ast.Load: ("name",), ast.Store: ("bind",), ast.Del: ("name", "delete")}[type(node.ctx)]
            yield from self._named(ast.Constant(node.attr), () if node.attr in _OF_MODULES else doing)

    def _assign(self, node: ast.Assign) -> Iterator[Piece]:
        kind = self._kind(node.value)
        if kind and all(isinstance(target, ast.Name) for target in node.targets):
            self._settle(node.value)
            self._aliases.update((target.id, kind) for target in node.targets if isinstance(target, ast.Name))
        yield from ()

    def _augmented(self, node: ast.AugAssign) -> Iterator[Piece]:
        target = node.target
        if isinstance(target, ast.Subscript) and self._kind(target.value) == "names":
            yield from self._named(target.slice, ("name",))
        elif isinstance(target, ast.Attribute) and self._kind(target.value) == "main":
            yield Piece(target.attr, "name")

    def _compare(self, node: ast.Compare) -> Iterator[Piece]:
        left: ast.expr = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.In | ast.NotIn) and self._kind(right) == "names":
                self._settle(right)
                yield from self._named(left, ("name",))
            left = right

    def _filled_by_percent(self, node: ast.BinOp) -> Iterator[Piece]:
        if isinstance(node.op, ast.Mod) and self._kind(node.right) == "names":
            yield from self._filled(self._texts.of(node.left), [node.right])

    def _filled(self, texts: Texts, namespaces: list[ast.expr]) -> Iterator[Piece]:
        """Yield the names that templates take from namespaces."""
        if texts is not None:
            self._settle(*namespaces)
            yield from (Piece(name, "name") for text in texts for name in sorted(filled_in(text)))

    def _import(self, node: ast.Import) -> Iterator[Piece]:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self._origins[name] = alias.name if alias.asname else name
            if alias.name == MAIN_MODULE:
                self._aliases[name] = "main"
        yield from ()

    def _import_from(self, node: ast.ImportFrom) -> Iterator[Piece]:
        for alias in node.names:
            self._origins[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            if node.module == MAIN_MODULE and not node.level:
                yield ANY if alias.name == "*" else Piece(alias.name, "name")

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Iterator[Piece]:
        if id(node) in self._settled:
            return
        if self._builtin(node.func) in _PASSED_ON:
            self._settle(node.func)
        if self._kind(node):
            self._settle(node)
            yield ANY
        elif self._builtin(node.func) in _ATTRIBUTE_FUNCTIONS:
            yield from self._attribute_function(node)
        elif isinstance(node.func, ast.Attribute) and self._kind(node.func.value) == "names":
            yield from self._method(node, node.func)
        else:
            yield from self._any_other(node)

    def _attribute_function(self, node: ast.Call) -> Iterator[Piece]:
        if len(node.args) > 1 and self._kind(node.args[0]) == "main":
            self._settle(node.args[0])
            yield from self._named(node.args[1], _ATTRIBUTE_FUNCTIONS[self._builtin(node.func)])

    def _method(self, node: ast.Call, method: ast.Attribute) -> Iterator[Piece]:
        """Yield the operations of a call of a namespace's method."""
        if method.attr in _METHODS and node.args:
            self._settle(method.value)
            yield from self._named(node.args[0], _METHODS[method.attr])
        elif method.attr in ("update", "clear"):
            self._settle(method.value)
            keys = [key for each in node.args if isinstance(each, ast.Dict) for key in each.keys if key]
            names = [ast.Constant(keyword.arg) for keyword in node.keywords if keyword.arg]
            for key in (*keys, *names):
                yield from self._named(key, ("bind",))

    def _any_other(self, node: ast.Call) -> Iterator[Piece]:
        word, given = last_word(node.func), [*node.args, *(keyword.value for keyword in node.keywords)]
        namespaces = [each for each in given if self._kind(each) == "names"]
        if namespaces and word in _FILLS:
            yield from self._filled(self._text_filled(node, word), namespaces)
        elif namespaces and word in _WITH_NAMESPACE and self._texts.of(text_of(node)) is not None:
            self._settle(*namespaces)
        if isinstance(node.func, ast.Attribute) and word in _ELSEWHERE:
            self._settle(*(each for each in given if isinstance(each, ast.Name) and each.id in _PASSED_ON))
        yield from self._from_main_module(node)

    def _text_filled(self, node: ast.Call, word: str) -> Texts:
        """Return the template: the method's object, or the first argument."""
        is_method = word != "vformat" and isinstance(node.func, ast.Attribute)
        return self._texts.of(node.func.value if is_method else text_of(node))  # type: ignore[attr-defined]  # a method's

    def _from_main_module(self, node: ast.Call) -> Iterator[Piece]:
        """Yield `any` for a function that reads all of `__main__`, unless another module is given."""
        path = self.path(node.func)
        word = path.rpartition(".")[2]
        if path not in FROM_MAIN_MODULE:
            if word in INTERACTIVE or (word == path and path in ("testmod", "run_docstring_examples", "dump_session")):
                yield ANY
            return
        parameter = FROM_MAIN_MODULE[path]
        named = [keyword.value for keyword in node.keywords if keyword.arg == parameter]
        module = (node.args[0] if node.args else named[0] if named else None) if parameter else None
        nothing_else = module is None or (isinstance(module, ast.Constant) and module.value in (None, MAIN_MODULE))
        if nothing_else:
            yield ANY


def _is_modules(node: ast.AST | None) -> bool:
    """Whether an expression is `sys.modules`."""
    return node is not None and last_word(node) == "modules"
