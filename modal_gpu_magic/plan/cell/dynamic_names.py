"""Finds names that a cell looks up at run time: `globals()["v"]`, `"{v}".format(**globals())`, `__main__.v`.

Where a literal text names the name, that name is found; elsewhere the cell may look up any name. An expression whose
value is the notebook's namespace is called `names` here, one whose value is the module `__main__` is called `main`.
What a single call with a text does (`exec`, magics) is in `plan.cell.embedded`.
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

_HERE = frozenset({"globals", "vars", "locals", "dir"})
"""Functions that give the namespace when called without arguments; all but `globals` only at the top level."""

_OF_OBJECT = frozenset({"vars", "dir"})
"""Functions that give the names of an object given to them."""

_COPIES = frozenset({"list", "tuple", "set", "frozenset", "sorted", "dict", "iter"})
"""Functions that hand on the names of a namespace given to them."""

_VIEWS = frozenset({"keys", "copy"})
"""Methods of a namespace that hand on its names."""

_METHODS = {
    "get": ("name",),
    "__getitem__": ("name",),
    "__contains__": ("name",),
    "setdefault": ("name", "bind"),
    "pop": ("name", "delete"),
    "__delitem__": ("name", "delete"),
    "__setitem__": ("bind",),
}
"""What a method of a namespace does to the name that is its first argument."""

_ATTRIBUTE_FUNCTIONS = {
    "getattr": ("name",),
    "hasattr": ("name",),
    "setattr": ("bind",),
    "delattr": ("name", "delete"),
}
"""The same for functions whose first argument is the module `__main__`."""

_FILLS = frozenset({"format", "format_map", "substitute", "safe_substitute", "render", "vformat"})
"""Functions that fill names into a text, which they have or are given."""

_WITH_NAMESPACE = frozenset({"exec", "eval", "evaluate", "query", "timeit", "repeat", "Timer", "run", "sqldf"})
"""Functions that run a text in a namespace given to them; the text itself is read by `plan.cell.embedded`."""

_OF_MODULES = frozenset({"__name__", "__doc__", "__file__", "__spec__", "__loader__", "__package__", "__builtins__"})
"""Attributes of `__main__` that are no variables of the notebook's."""

_ELSEWHERE = frozenset({"apply", "map", "applymap", "transform", "agg", "pipe", "parallel_apply", "progress_apply"})
"""Methods of libraries that call `eval` given to them: from the library's code, in the library's namespace."""

_PASSED_ON = frozenset({"globals", "eval", "exec"})
"""Functions that look up any name also where they are only handed on."""

_ABBREVIATIONS = {"pd": "pandas", "ne": "numexpr", "np": "numpy"}
"""What a module's usual short name means if the cell itself does not import it."""


class DynamicNames:
    """Looks at each expression of a cell before its parts are visited.

    Args:
        ledger: knows the scope.
        texts: the cell's known texts.
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
        """What a node does to names that its text does not show, less what is found in its parts."""
        look = self._table.get(type(node))
        return look(node) if look is not None else iter(())

    def path(self, node: ast.AST) -> str:
        """The dotted path of what an expression names, by the cell's imports: `u.main` is `unittest.main`."""
        if isinstance(node, ast.Attribute):
            above = self.path(node.value)
            return f"{above}.{node.attr}" if above else ""
        if isinstance(node, ast.Name):
            return self._origins.get(node.id) or _ABBREVIATIONS.get(node.id, node.id)
        return ""

    def callee(self, call: ast.Call) -> Callee:
        """What is known of a call."""
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
            case ast.Call(args=[], keywords=[]) if name in _HERE:
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
        """The name of the builtin function that an expression names; empty for anything else."""
        match node:
            case ast.Name(id=name) if self._ledger.finds_builtin(name):
                return name
            case ast.Attribute(value=ast.Name(id="builtins"), attr=attr):
                return attr
        return ""

    def _settle(self, *nodes: ast.AST) -> None:
        """These expressions are used in a way that is understood: they hand on no other name."""
        self._settled.update(id(part) for node in nodes for part in ast.walk(node))

    def _named(self, key: ast.AST, doing: tuple[str, ...]) -> Iterator[Piece]:
        """What is done to the names that an expression has as its value."""
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
        """Names are filled into texts from namespaces."""
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
        """A method of the namespace."""
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
        """The text into which names are filled: the method's object, or the first argument."""
        is_method = word != "vformat" and isinstance(node.func, ast.Attribute)
        return self._texts.of(node.func.value if is_method else text_of(node))  # type: ignore[attr-defined]  # a method's

    def _from_main_module(self, node: ast.Call) -> Iterator[Piece]:
        """A function that looks at all of `__main__`, unless it is given another module."""
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
