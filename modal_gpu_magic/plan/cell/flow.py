"""Visit the statements of a cell along every control-flow path.

A loop other than `while True` may run zero times, a `with` may suppress the exception that ends its block, a `try` may
end anywhere: a name that is bound on one path only is not definitely bound afterwards. Code under `if False` is
ignored. `plan.cell.expressions` visits expressions.
"""

# ruff: noqa: D102, N802, N815 - methods bear the names of the nodes they read, as ast.NodeVisitor asks

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.plan.cell.expressions import Expressions, constant
from modal_gpu_magic.plan.cell.ledger import join
from modal_gpu_magic.plan.cell.scopes import annotation_scope, captures, class_scope, function_scope, imported
from modal_gpu_magic.plan.cell.texts import last_word

if TYPE_CHECKING:
    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.plan.cell.scopes import Function
    from modal_gpu_magic.plan.cell.texts import KnownTexts

_PASSES_ERRORS_ON = frozenset(
    {
        *("open", "urlopen", "closing", "connect", "socket", "ZipFile", "TarFile", "File", "memmap", "Session"),
        *("TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "catch_warnings", "tqdm", "Pool"),
        *("redirect_stdout", "redirect_stderr", "ThreadPoolExecutor", "ProcessPoolExecutor", "nullcontext"),
        *("no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "autocast", "stream", "device", "profile"),
        *("no_sync", "sdpa_kernel", "fork_rng", "errstate", "printoptions", "option_context", "localcontext"),
        *("rc_context", "style", "mesh", "GradientTape", "Progress", "Live", "chdir"),
    }
)
"""Last words of context managers that never suppress exceptions, so that after the block all of the block has run.

Any other context manager may suppress exceptions, as `contextlib.suppress` does; the text does not show that.
"""


class Flow(Expressions):
    """Visits statements."""

    def __init__(self, transform: Transform | None, texts: KnownTexts) -> None:
        super().__init__(transform, texts)
        self.stars: set[str] = set()

    # -- binding -------------------------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit_all([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.ledger.load(node.target.id)
            self.touch(node.target)
            self.visit_all([node.value, node.target])
        else:
            self.visit_all([node.target, node.value])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value or not node.simple:  # `x: int` alone binds nothing
            self.visit_all([node.value, node.target])
        if self.ledger.scopes[-1].kind != "function":  # in a function it is never evaluated
            self.annotation(node.annotation)

    def visit_TypeAlias(self, node: Any) -> None:
        self.visit(node.name)
        scope = annotation_scope(node, self.ledger.owner)
        with self.ledger.aside(), self.ledger.inside(scope):  # evaluated on first use
            self.visit_all([*node.type_params, node.value])

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.update(alias.name.partition(".")[0] for alias in node.names)
        for name in imported(node):
            self.ledger.store(name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        if not node.level:
            self.imports.add(module.partition(".")[0])
        if any(alias.name == "*" for alias in node.names):
            self.stars.add(module)
            self.ledger.starred = True
        for name in imported(node):
            self.ledger.store(name)

    # -- definitions ---------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: Function) -> None:
        self._decorators(node)
        arguments = node.args
        self.visit_all([*arguments.defaults, *arguments.kw_defaults])
        every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        generic = annotation_scope(node, self.ledger.owner)
        with self.ledger.inside(generic):
            self.visit_all(getattr(node, "type_params", ()))
            for annotation in [*(each.annotation for each in every if each), node.returns]:
                self.annotation(annotation)
        self.ledger.store(node.name)  # by the time its body runs, a function's own name is bound
        with self.ledger.inside(generic), self.ledger.body(function_scope(node, self.ledger.owner)):
            self.visit_all(node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._decorators(node)
        with self.ledger.making(node.name), self.ledger.inside(annotation_scope(node, self.ledger.owner)):
            self.visit_all([*getattr(node, "type_params", ()), *node.bases, *node.keywords])
            with self.ledger.inside(class_scope(node)):
                self.visit_all(node.body)
        self.ledger.store(node.name)

    def _decorators(self, node: Function | ast.ClassDef) -> None:
        self.visit_all(node.decorator_list)
        self.touch(*node.decorator_list)
        calls = bool(node.decorator_list) and self.ledger.runs_now
        self.calls, self.calls_functions = self.calls or calls, self.calls_functions or calls

    # -- paths ---------------------------------------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        taken = constant(node.test)
        if taken is None:
            self.visit(node.test)
            self.either(node.body, node.orelse)
        else:
            self.visit_all(node.body if taken else node.orelse)

    def visit_Assert(self, node: ast.Assert) -> None:
        with self.ledger.aside():  # `python -O` leaves it out
            self.visit_all([node.test, node.msg])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self.touch(node.iter)
        with self.ledger.aside(), self.ledger.looping():
            self.visit_all([node.target, *node.body])
        with self.ledger.aside():
            self.visit_all(node.orelse)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        taken = constant(node.test)
        if taken:
            with self.ledger.looping() as ends:
                self.visit_all(node.body)
            self.ledger.bound = join(ends)
            return
        self.visit(node.test)
        with self.ledger.aside(), self.ledger.looping():
            self.visit_all(node.body if taken is None else ())
        if taken is None:
            with self.ledger.aside():
                self.visit_all(node.orelse)
        else:
            self.visit_all(node.orelse)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        swallowed = None
        for item in node.items:
            self.visit(item.context_expr)
            self.touch(item.context_expr)
            self.visit_all([item.optional_vars])
            swallowed = swallowed or (self.ledger.point(),)
        self.visit_all(node.body)
        if swallowed and not all(_passes_errors_on(item.context_expr) for item in node.items):
            self.ledger.bound = swallowed[0]

    visit_AsyncWith = visit_With

    def visit_Try(self, node: Any) -> None:
        start = self.ledger.point()
        self.visit_all([*node.body, *node.orelse])
        ends = [self.ledger.bound]
        for handler in node.handlers:
            self.ledger.bound = None if start is None else set(start)
            self.visit(handler)
            ends.append(self.ledger.bound)
        self.ledger.bound = start
        end = join(ends)
        self.visit_all(node.finalbody)
        always = self.ledger.bound
        self.ledger.bound = None if end is None or always is None else end | always

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.visit_all([node.type])
        if node.name:
            self.ledger.store(node.name)
            self.ledger.unbind(node.name)  # at the end of the handler, by any path
        self.visit_all(node.body)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        cases: list[list[ast.AST]] = [[case] for case in node.cases]
        self.either(*cases, *([] if _takes_all(node.cases[-1]) else [[]]))

    def visit_match_case(self, node: ast.match_case) -> None:
        for part in ast.walk(node.pattern):  # names are bound when the whole pattern has matched
            if isinstance(part, ast.MatchValue | ast.MatchClass):
                self.visit(part.value if isinstance(part, ast.MatchValue) else part.cls)
            elif isinstance(part, ast.MatchMapping):
                self.visit_all(part.keys)
        for name in captures(node.pattern):
            self.ledger.store(name)
        self.visit_all([node.guard, *node.body])

    def _leave(self, node: ast.AST) -> None:
        self.generic_visit(node)
        self.ledger.bound = None

    visit_Return = visit_Raise = visit_Continue = _leave

    def visit_Break(self, _: ast.Break) -> None:
        self.ledger.leave_loop()


def _takes_all(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def _passes_errors_on(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_word(node.func) in _PASSES_ERRORS_ON
