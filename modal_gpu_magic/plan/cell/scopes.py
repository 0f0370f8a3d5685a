"""Find the names that belong to a function, class, comprehension or generic, by Python's scope rules.

A scope corresponds to one block in the compiler's symbol table. `plan.cell.ledger` handles nesting and bindings.
"""

# ruff: noqa: N815 - methods bear the names of the nodes they read, as ast.NodeVisitor asks

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The names of one block. Compared by identity: two blocks with equal names are two scopes.

    Attributes:
        kind: `function` also for lambdas and comprehensions; `annotation` for the parameters of a generic (PEP 695),
            the only scopes that see the names of an enclosing class.
        names: names that the block binds.
        globals: names that the block declares global.
        deleted: names that the block deletes on some paths only; a later read in a class may find a global.
        owner: the class whose private names (`__x`) are mangled in the block; None: no class.
    """

    kind: Literal["module", "class", "function", "annotation"]
    names: frozenset[str] = frozenset()
    globals: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    owner: str | None = None


def function_scope(node: Function | ast.Lambda, owner: str | None) -> Scope:
    """The scope of a function's or a lambda's body, parameters included."""
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    return block_scope("function", body, owner, (argument.arg for argument in every if argument))


def class_scope(node: ast.ClassDef) -> Scope:
    """The scope of a class body."""
    return block_scope("class", node.body, node.name)


def comprehension_scope(node: Comprehension, owner: str | None) -> Scope:
    """The scope of a comprehension: its targets. A walrus in it binds in the block around."""
    parts = (part for each in node.generators for part in ast.walk(each.target))
    targets = (part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
    return Scope("function", _mangled(targets, owner), owner=owner)


def annotation_scope(node: Any, owner: str | None) -> Scope:
    """The scope of the type parameters of a generic function, class or alias (none before Python 3.12)."""
    names = [each.name for each in getattr(node, "type_params", ())]
    inner = node.name if isinstance(node, ast.ClassDef) else owner  # a class's own parameters are private to it
    return Scope("annotation", _mangled(names, owner) | _mangled(names, inner), owner=owner)


def block_scope(
    kind: Literal["class", "function"], body: Iterable[ast.AST], owner: str | None, names: Iterable[str] = ()
) -> Scope:
    """The scope of a block of statements that also has the names given (its parameters)."""
    found = _Bindings()
    found.names.update(names)
    for part in body:
        deleted = set(found.deleted)
        found.visit(part)
        if isinstance(part, ast.Delete):  # runs exactly once, in its place
            found.deleted = deleted
    own = found.names - found.globals - found.nonlocals
    return Scope(kind, _mangled(own, owner), _mangled(found.globals, owner), _mangled(found.deleted, owner), owner)


def mangled(name: str, owner: str | None) -> str:
    """Return the mangled name of a private name inside class `owner`: `_Owner__x` for `__x`."""
    stem = (owner or "").lstrip("_")
    return f"_{stem}{name}" if stem and name.startswith("__") and not name.endswith("__") else name


def captures(pattern: ast.AST) -> Iterator[str]:
    """The names a `case` pattern binds."""
    for part in ast.walk(pattern):
        name = part.rest if isinstance(part, ast.MatchMapping) else getattr(part, "name", None)
        if name:
            yield name


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The names an import binds: `import a.b` binds `a`; a star names none."""
    for alias in node.names:
        name = alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)
        if name != "*":
            yield name


def _mangled(names: Iterable[str], owner: str | None) -> frozenset[str]:
    return frozenset(mangled(name, owner) for name in names)


class _Bindings(ast.NodeVisitor):
    """Collects the names that a block binds, without nested blocks."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.deleted: set[str] = set()
        self._comprehensions = 0

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) and not self._comprehensions:
            self.names.add(node.id)
        if isinstance(node.ctx, ast.Del):
            self.deleted.add(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.names.add(node.target.id)
        self.visit(node.value)

    def visit_FunctionDef(self, node: Function) -> None:
        self.names.add(node.name)
        self._outside(node.decorator_list, node.args.defaults, node.args.kw_defaults)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.add(node.name)
        self._outside(node.decorator_list, node.bases, node.keywords)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._outside(node.args.defaults, node.args.kw_defaults)

    def _outside(self, *parts: Iterable[ast.AST | None]) -> None:
        """Visit the parts of a definition that are evaluated in the enclosing block."""
        for node in (node for nodes in parts for node in nodes if node):
            self.visit(node)

    def _comprehension(self, node: ast.AST) -> None:
        self._comprehensions += 1
        self.generic_visit(node)
        self._comprehensions -= 1

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.names.update(imported(node))

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.names.add(node.name)
            self.deleted.add(node.name)
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        self.names.update(captures(node.pattern))
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.nonlocals.update(node.names)
