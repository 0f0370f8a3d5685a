"""The methods of a service, from the functions of a cell or from function objects. Pure; no user code runs.

Defaults of a cell's parameters are known as text only, because the cell runs in the container.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modal_gpu_magic.catalog.limits import SERVICE_COUNT
from modal_gpu_magic.errors import ServiceError
from modal_gpu_magic.wire.messages.batching import Batch, batch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Kind = Literal["function", "coroutine", "generator", "async generator"]
Function = ast.FunctionDef | ast.AsyncFunctionDef
EXAMPLE = "@batched(32, wait_ms=100)"
START_SECONDS = 3600
CONCURRENT = (1, SERVICE_COUNT)
"""Calls that one container may take at once."""


@dataclass(frozen=True, slots=True)
class Method:
    """One function of a service, as the notebook calls it.

    Attributes:
        name: name of the function.
        kind: the kind of function, which determines the type of the result.
        signature: the parameters; a default from a cell's text is a `Written`.
        doc: the docstring.
        batch: how calls are collected into batches; None: no batches.
    """

    name: str
    kind: Kind
    signature: inspect.Signature
    doc: str = ""
    batch: Batch | None = None

    @property
    def streams(self) -> bool:
        """Whether a call yields values one after the other."""
        return self.kind in ("generator", "async generator")

    def __str__(self) -> str:
        return f"{self.name}{self.signature}" + (f" in batches ({self.batch})" if self.batch else "")


class Written:
    """A parameter's default that is known as text only."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Serving:
    """The settings of a service, apart from the machine.

    Attributes:
        methods: the functions that can be called.
        helpers: functions that cannot be called, because Modal allows no other method beside a batched one.
        min_containers: containers that run without calls; None: Modal's default.
        max_containers: largest number of containers; None: Modal's default.
        concurrent: calls that one container takes at once; None: one.
        timeout: time limit of a call, seconds.

    Raises:
        ServiceError: Modal would refuse a setting.
    """

    methods: tuple[Method, ...]
    helpers: tuple[str, ...] = ()
    min_containers: int | None = None
    max_containers: int | None = None
    concurrent: int | None = None
    timeout: int = 3600

    def __post_init__(self) -> None:
        low, high = self.min_containers or 0, self.max_containers
        if low < 0 or (high is not None and high < max(1, low)):
            raise ServiceError(
                f"min_containers must be 0 or more, max_containers 1 or more and not below it; not {low} and {high}."
            )
        least, most = CONCURRENT
        if self.concurrent is not None and not least <= self.concurrent <= most:
            raise ServiceError(f"concurrent is {self.concurrent}; a container takes {least} to {most:,} calls at once.")

    @property
    def startup_timeout(self) -> int:
        """Time limit of a container's start in seconds: at least an hour, because loading a model may take long."""
        return max(self.timeout, START_SECONDS)

    @property
    def batch(self) -> Batch | None:
        """The batch settings of the batched method; None: no method is batched."""
        return self.methods[0].batch


def methods_of_cell(tree: ast.Module, given: Batch | None) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """Return methods and helpers of a cell: its top-level functions except those whose names start with `_`.

    Args:
        tree: the cell.
        given: `--batch` and `--wait-ms` of the header.

    Raises:
        ServiceError: the cell has no function, a function cannot be batched, or has a decorator of Modal's own; the
            message has the fix.
    """
    functions = {node.name: node for node in tree.body if isinstance(node, Function)}
    for node in functions.values():
        _check_decorators(node)
    return _chosen([_method_of_node(node) for name, node in functions.items() if not name.startswith("_")], given)


def methods_of(functions: Iterable[Callable[..., Any]], given: Batch | None) -> tuple[Method, ...]:
    """Return the methods of function objects.

    Raises:
        ServiceError: no function is given, a function cannot be batched, or one of several is batched.
    """
    methods, helpers = _chosen([_method_of_function(function) for function in functions], given)
    if helpers:
        raise ServiceError(
            f"{methods[0].name} is batched, and Modal allows no other method beside a batched one; "
            f"remove {_listed(helpers)}, or serve each in a service of its own."
        )
    return methods


def _chosen(found: Sequence[Method], given: Batch | None) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """Return the methods, batched according to header and marks, and the helpers."""
    if not found:
        raise ServiceError(
            "the cell has no function to serve: its top-level functions become methods, except those whose names "
            "start with _; write a function, such as def predict(x): ..."
        )
    marked = [method for method in found if method.batch]
    if given:
        marked = [_given(found, marked, given)]
    if len(marked) > 1:
        raise ServiceError(
            f"{_listed(method.name for method in marked)} are batched, and Modal allows one batched function a class; "
            "make one service for each."
        )
    for method in marked:
        _check_batched(method)
    methods = tuple(marked or found)
    return methods, tuple(method.name for method in found if method.name not in {each.name for each in methods})


def _given(found: Sequence[Method], marked: Sequence[Method], batch: Batch) -> Method:
    """Return the one function to which `--batch` applies."""
    if marked:
        raise ServiceError(f"{marked[0].name} is decorated with @batched and --batch is given; keep one.")
    if len(found) > 1:
        raise ServiceError(
            f"--batch is for a cell with one function, and this one has {_listed(method.name for method in found)}; "
            f"write {EXAMPLE} above the one to batch."
        )
    (only,) = found
    return Method(only.name, only.kind, only.signature, only.doc, batch)


def _check_batched(method: Method) -> None:
    """Check a method against the rules of Modal's `batched`.

    Raises:
        ServiceError: the method is a generator, or has defaults, special parameters, or no parameter.
    """
    fault = ""
    parameters = method.signature.parameters.values()
    defaults = [each.name for each in parameters if each.default is not each.empty]
    others = [each.name for each in parameters if each.kind is not each.POSITIONAL_OR_KEYWORD]
    if method.streams:
        fault = "is a generator: return a list instead"
    elif not parameters:
        fault = "has no parameter: each becomes a list with one item a call"
    elif defaults:
        fault = f"has defaults ({_listed(defaults)}): leave them out, each call gives every argument"
    elif others:
        fault = f"has parameters that are no plain ones ({_listed(others)}): name each, without * and /"
    if fault:
        raise ServiceError(f"{method.name} cannot be batched, since it {fault}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


# From a cell.


def _method_of_node(node: Function) -> Method:
    streams = any(isinstance(each, ast.Yield | ast.YieldFrom) for each in _own_nodes(node))
    marks = [batch for decorator in node.decorator_list if (batch := _mark(decorator, node.name))]
    return Method(
        node.name,
        _kind(coroutine=isinstance(node, ast.AsyncFunctionDef), streams=streams),
        _signature(node.args),
        ast.get_docstring(node) or "",
        marks[0] if marks else None,
    )


def _kind(*, coroutine: bool, streams: bool) -> Kind:
    if streams:
        return "async generator" if coroutine else "generator"
    return "coroutine" if coroutine else "function"


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of nested functions and classes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_nodes(child)


_OF_A_CLASS = {
    "enter": "the cell's top level runs once a container: write the lines of {0} there, without def",
    "exit": "a service has no function that runs when a container ends; use atexit.register in the cell",
    "method": "every function of the cell is a method: remove the decorator",
    "concurrent": "write --concurrent N above the cell instead",
    "function": "every function of the cell is a method: remove the decorator, and write its options above the cell",
}
"""What to write instead of a decorator of Modal's own, by its name."""


def _check_decorators(node: Function) -> None:
    """Refuse Modal's own decorators: what they make of a function can only be called by Modal.

    Raises:
        ServiceError: the sentence that says what to write.
    """
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not isinstance(target, ast.Attribute) or target.attr == "batched":
            continue
        owner = ast.unparse(target.value)
        if owner == "modal" or (owner == "app" and target.attr in _OF_A_CLASS):
            remedy = _OF_A_CLASS.get(target.attr, "a service is called from the notebook: remove the decorator")
            written = f"@{owner}.{target.attr}"
            raise ServiceError(f"{node.name} is decorated with {written}; {remedy.format(node.name)}.")


def _mark(decorator: ast.expr, name: str) -> Batch | None:
    """Return the batch settings of `@batched(...)`; None: another decorator."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if not (isinstance(target, ast.Name | ast.Attribute) and _last(target) == "batched"):
        return None
    if not isinstance(decorator, ast.Call) or (
        isinstance(target, ast.Attribute) and ast.unparse(target.value) == "modal"
    ):
        raise ServiceError(
            f"{name} is decorated with @{ast.unparse(decorator)}; write {EXAMPLE}, which becomes Modal's decorator."
        )
    try:
        args = [ast.literal_eval(arg) for arg in decorator.args]
        words = {str(word.arg): ast.literal_eval(word.value) for word in decorator.keywords}
        return _batch(*args, **words)
    except (ValueError, TypeError):
        raise ServiceError(f"@{ast.unparse(decorator)} above {name} has no plain numbers; write {EXAMPLE}.") from None


def _batch(max_batch_size: int, wait_ms: int = Batch(1).wait_ms) -> Batch:
    return Batch(max_batch_size, wait_ms)


def _last(target: ast.Name | ast.Attribute) -> str:
    return target.id if isinstance(target, ast.Name) else target.attr


def _signature(args: ast.arguments) -> inspect.Signature:
    """Return a function's signature from its text."""
    kinds = inspect.Parameter
    plain = [*args.posonlyargs, *args.args]
    given: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults))
    parameters = [
        _parameter(arg, kinds.POSITIONAL_ONLY if arg in args.posonlyargs else kinds.POSITIONAL_OR_KEYWORD, default)
        for arg, default in zip(plain, [*given, *args.defaults], strict=True)
    ]
    if args.vararg:
        parameters.append(_parameter(args.vararg, kinds.VAR_POSITIONAL, None))
    parameters += [
        _parameter(arg, kinds.KEYWORD_ONLY, default)
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    if args.kwarg:
        parameters.append(_parameter(args.kwarg, kinds.VAR_KEYWORD, None))
    return inspect.Signature(parameters)


def _parameter(arg: ast.arg, kind: Any, default: ast.expr | None) -> inspect.Parameter:
    shown = inspect.Parameter.empty if default is None else Written(ast.unparse(default))
    return inspect.Parameter(arg.arg, kind, default=shown)


# From functions.


def _method_of_function(function: Callable[..., Any]) -> Method:
    name = getattr(function, "__name__", "")
    if not inspect.isroutine(function) or not name.isidentifier():
        raise ServiceError(f"{function!r} cannot be served: a service takes functions with a name, made by def.")
    streams = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    coroutine = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    kind = _kind(coroutine=coroutine, streams=streams)
    return Method(name, kind, inspect.signature(function), inspect.getdoc(function) or "", batch_of(function))
