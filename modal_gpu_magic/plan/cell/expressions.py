"""Visit expressions of a cell in the order of evaluation: record names that are read, bound, or changed in place.

`plan.cell.flow` adds statements; `plan.cell.ledger` has the rules of names.
"""

# ruff: noqa: D102, N815 - methods bear the names of the nodes they read, as ast.NodeVisitor asks

from __future__ import annotations

import ast
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.cellsource import parse_cell, parse_python
from modal_gpu_magic.plan.cell.dynamic_names import DynamicNames
from modal_gpu_magic.plan.cell.embedded import is_shell_call, pieces
from modal_gpu_magic.plan.cell.ledger import Ledger, join
from modal_gpu_magic.plan.cell.scopes import block_scope, comprehension_scope, function_scope
from modal_gpu_magic.plan.cell.texts import last_word
from modal_gpu_magic.wire.values.lookups import mentioned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.plan.cell.embedded import Piece
    from modal_gpu_magic.plan.cell.scopes import Comprehension
    from modal_gpu_magic.plan.cell.texts import KnownTexts

_RUNS_CODE = (
    ast.Attribute,
    ast.AugAssign,
    ast.Await,
    ast.Call,
    ast.ClassDef,
    ast.For,
    ast.AsyncFor,
    ast.FormattedValue,
    ast.Import,
    ast.ImportFrom,
    ast.MatchClass,
    ast.Starred,
    ast.Subscript,
    ast.With,
    ast.AsyncWith,
    ast.comprehension,
)
"""Nodes that may run code or consume an iterator. Operators count as pure, because they should not change operands."""

_CALLS_FUNCTIONS = (ast.Call, ast.For, ast.AsyncFor, ast.With, ast.AsyncWith, ast.comprehension, ast.AugAssign)
"""The nodes of these that may call a function or create an instance of a class that the cell defines."""


class Expressions(ast.NodeVisitor):
    """Visits expressions. A node whose fields are not evaluated in the order of ast has a method of its own."""

    def __init__(self, transform: Transform | None, texts: KnownTexts) -> None:
        self.ledger = Ledger()
        self.imports: set[str] = set()
        self.calls = self.calls_functions = False
        self.any_now = self.any_later = False
        self._transform, self._texts = transform, texts
        self._dynamic = DynamicNames(self.ledger, texts)
        self._in_annotation = self._mentioned_only = False

    def visit(self, node: ast.AST) -> None:
        """Visit a node, and record whether the node can change objects in place when the cell runs."""
        if isinstance(node, _RUNS_CODE) and self.ledger.runs_now:
            self.calls = True
            self.calls_functions = self.calls_functions or isinstance(node, _CALLS_FUNCTIONS)
        for piece in self._dynamic.look(node):
            self._piece(piece)
        super().visit(node)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        """Visit nodes in the order given."""
        for node in nodes:
            if node is not None:
                self.visit(node)

    def touch(self, *nodes: ast.AST) -> None:
        """Record the names through which values may be changed in place."""
        for name in (name for node in nodes for name in roots(node)):
            self.ledger.touch(name)

    # -- names and containers ------------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.ledger.load(node.id, mentioned=self._in_annotation or self._mentioned_only)
            self._mention(self._texts.of_notebook(node.id) or "")
        elif isinstance(node.ctx, ast.Store):
            self.ledger.store(node.id)
        else:
            self.ledger.delete(node.id)

    def visit_Attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            self.touch(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._in_annotation and last_word(node.value) == "Literal":
            self.visit(node.value)  # the strings of `Literal` are values, not names
        else:
            self.visit_Attribute(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit_all([node.value, node.target])

    # -- branches ------------------------------------------------------------------------------------------------------

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        with self.ledger.aside():
            self.visit_all(node.values[1:])

    def visit_Compare(self, node: ast.Compare) -> None:
        self.visit_all([node.left, node.comparators[0]])
        with self.ledger.aside():
            self.visit_all(node.comparators[1:])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        taken = constant(node.test)
        if taken is None:
            self.visit(node.test)
            self.either([node.body], [node.orelse])
        else:
            self.visit(node.body if taken else node.orelse)

    def either(self, *ways: Iterable[ast.AST]) -> None:
        """Visit alternative blocks, of which exactly one runs."""
        start, ends = self.ledger.point(), []
        for way in ways:
            self.ledger.bound = None if start is None else set(start)
            self.visit_all(way)
            ends.append(self.ledger.bound)
        self.ledger.bound = join(ends)

    # -- blocks inside expressions -------------------------------------------------------------------------------------

    def visit_Dict(self, node: ast.Dict) -> None:
        self.visit_all(part for pair in zip(node.keys, node.values, strict=True) for part in pair)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_all([*node.args.defaults, *node.args.kw_defaults])
        with self.ledger.body(function_scope(node, self.ledger.owner)):
            self.visit(node.body)

    def _comprehension(self, node: Comprehension) -> None:
        first, *rest = node.generators
        element = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.visit(first.iter)
        self.touch(first.iter)
        with self.ledger.aside(), self.ledger.inside(comprehension_scope(node, self.ledger.owner)):
            self.visit_all([first.target, *first.ifs])
            for each in rest:
                self.visit(each.iter)
                self.touch(each.iter)
                self.visit_all([each.target, *each.ifs])
            self.visit_all(element)
        self.calls = self.calls or self.ledger.runs_now

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    # -- calls ---------------------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        if not is_shell_call(node):
            self.generic_visit(node)
            self.touch(node.func, *node.args, *(keyword.value for keyword in node.keywords))
        elif not all(isinstance(each, ast.Constant) for each in node.args):  # a call that the user wrote
            self.visit_all(node.args)
        for piece in pieces(node, self._texts, self._dynamic.callee(node)):
            self._piece(piece)

    def _piece(self, piece: Piece) -> None:
        """Record the effects of code inside a string."""
        if piece.how == "any":
            self.any_now = self.any_now or self.ledger.runs_now
            self.any_later = self.any_later or self.ledger.bound is not None
        elif piece.how == "mention":
            self.ledger.load(piece.source, mentioned=True)
        elif piece.how == "import":
            module = piece.source.partition(".")[0]
            self.imports.update({module} if module else ())  # `.a` is relative to a package
        elif piece.how in ("name", "bind", "delete"):
            with self.ledger.globally():
                self._named(piece)
        else:
            self._code(piece)

    def _named(self, piece: Piece) -> None:
        if piece.how == "name":
            self.ledger.load(piece.source, mentioned=True)
            self.ledger.touch(piece.source)
        elif piece.how == "bind":
            self.ledger.store(piece.source)
        else:
            self.ledger.unbind(piece.source)

    def _code(self, piece: Piece) -> None:
        """Visit code from a string. In a function the code reads the function's locals, and cannot create new ones."""
        with_magics = piece.how in ("cell", "timed")
        tree = parse_cell(piece.source, self._transform) if with_magics else parse_python(piece.source.strip())
        body = tree.body if tree else []
        self._texts.note(body)
        if piece.how in ("timed", "quoted"):
            scope = block_scope("function", body, self.ledger.owner)
            with self.ledger.aside(), self.ledger.inside(scope), self._perhaps(piece.how == "quoted"):
                self.visit_all(body)
        elif piece.how == "main":
            with self.ledger.globally():
                self.visit_all(body)
        elif piece.how == "elsewhere" or not self.ledger.at_top:
            with self.ledger.aside(), self._perhaps(piece.how == "elsewhere"):
                self.visit_all(body)
        else:
            self.visit_all(body)

    @contextmanager
    def _perhaps(self, mentioned_only: bool) -> Iterator[None]:  # noqa: FBT001 - a private helper
        """Visit code whose names may belong to another namespace."""
        outer, self._mentioned_only = self._mentioned_only, self._mentioned_only or mentioned_only
        yield
        self._mentioned_only = outer

    def _mention(self, text: str) -> None:
        """Record the names in a string that a library may evaluate with the variables of its caller."""
        for name in sorted(mentioned(text)) if text else ():
            self.ledger.load(name, mentioned=True)

    # -- annotations ---------------------------------------------------------------------------------------------------

    def annotation(self, node: ast.AST | None) -> None:
        """Read the names of an annotation, also in its strings; Python may evaluate it now, later (3.14) or never."""
        if node is None:
            return
        outer, self._in_annotation = self._in_annotation, True
        with self.ledger.aside():
            self.visit(node)
        self._in_annotation = outer

    def visit_Constant(self, node: ast.Constant) -> None:
        if self._in_annotation and isinstance(node.value, str):
            tree = parse_python(node.value.strip())
            self.visit_all(tree.body if tree else ())
        elif isinstance(node.value, str):
            self._mention(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = (str(each.value) if isinstance(each, ast.Constant) else "_" for each in node.values)
        self._mention("".join(parts))
        self.visit_all(each for each in node.values if not isinstance(each, ast.Constant))


def constant(test: ast.expr) -> bool | None:
    """Return the constant value of a condition; None: not constant. The compiler also removes dead branches."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = constant(test.operand)
        return None if inner is None else not inner
    return bool(test.value) if isinstance(test, ast.Constant) else None


def roots(node: ast.AST | None) -> Iterator[str]:
    """Yield the names whose values an expression passes on: `a` and `b` for `[a, *b]` and `a if c else b`."""
    match node:
        case ast.Name(id=name):
            yield name
        case (
            ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value) | ast.Await(value=value)
        ):
            yield from roots(value)
        case ast.NamedExpr(value=value, target=target):
            yield from (*roots(target), *roots(value))
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*roots(body), *roots(orelse))
        case ast.BoolOp(values=nodes) | ast.List(elts=nodes) | ast.Tuple(elts=nodes) | ast.Set(elts=nodes):
            yield from (name for each in nodes for name in roots(each))
        case ast.Dict(keys=keys, values=values):
            yield from (name for each in (*keys, *values) for name in roots(each))
