"""Find the strings that an expression may have: literals, and string values of the notebook's variables.

After `code = "y = x"`, `exec(code)` is handled like `exec("y = x")`.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from modal_gpu_magic.plan.cell.scopes import captures
from modal_gpu_magic.wire.values.lookups import LONGEST_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TextOf: TypeAlias = Callable[[str], str | None]
"""Returns the string value of a global name of the notebook; None: the value is no string."""

Texts: TypeAlias = tuple[str, ...] | None
"""All strings that an expression may have; None: unknown."""

_SEQUENCES = (ast.List, ast.Tuple, ast.Set)

_SAME_TEXT = frozenset({"compile", "dedent", "Template", "from_string"})
"""Last words of functions that return their first argument with the same names."""


def last_word(node: ast.AST) -> str:
    """Return the last part of a dotted name: `Literal` of `typing.Literal`; empty: no name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def texts_of(namespace: Mapping[str, object]) -> TextOf:
    """Return a function that looks up string values in a namespace at the time of the call."""

    def text(name: str) -> str | None:
        value = namespace.get(name)
        return value if type(value) is str and len(value) <= LONGEST_TEXT else None

    return text


class KnownTexts:
    """The known strings of a cell. The order of assignments is ignored: all possible values count.

    Args:
        of_notebook: looks up strings of the notebook; None: no strings are known.
    """

    def __init__(self, of_notebook: TextOf | None) -> None:
        self._of_notebook = of_notebook or (lambda _: None)
        self._of_cell: dict[str, Texts] = {}

    def note(self, body: Iterable[ast.AST]) -> None:
        """Record the bindings of code. A name that is bound to anything but a literal is unknown."""
        nodes = [node for part in body for node in ast.walk(part)]
        literals = dict(self._literals(nodes))
        for node in nodes:
            for name in _bound_by(node):
                texts, before = literals.get(id(node)), self._of_cell.get(name, ())
                self._of_cell[name] = None if texts is None or before is None else (*before, *texts)

    def of(self, node: ast.AST | None) -> Texts:
        """Return the strings that an expression may have."""
        match node:
            case ast.Constant(value=str(text)):
                return (text,)
            case ast.Name(id=name):
                return self._of_name(name)
            case ast.IfExp(body=body, orelse=orelse):
                return _all_of([self.of(body), self.of(orelse)])
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                first, second = self.of(left), self.of(right)
                known = first is not None and second is not None
                return tuple(a + b for a in first or () for b in second or ()) if known else None
            case ast.Call(func=func, args=[text, *_]) if last_word(func) in _SAME_TEXT:
                texts = self.of(text)
                return None if texts is None else tuple(textwrap.dedent(each) for each in texts)
        return None

    def of_notebook(self, name: str) -> str | None:
        """Return the notebook's string of a name that the cell does not bind."""
        return None if name in self._of_cell else self._of_notebook(name)

    def _of_name(self, name: str) -> Texts:
        before = self._of_notebook(name)
        if name not in self._of_cell:
            return None if before is None else (before,)
        texts = self._of_cell[name]
        return texts if texts is None or before is None else (*texts, before)

    def _literals(self, nodes: list[ast.AST]) -> Iterator[tuple[int, Texts]]:
        """Yield `id` and strings of the targets that are bound to known strings."""
        for node in nodes:
            if isinstance(node, ast.Assign):
                yield from ((id(target), self.of(node.value)) for target in node.targets)
            elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, _SEQUENCES):
                yield id(node.target), _all_of([self.of(each) for each in node.iter.elts])


def _all_of(several: list[Texts]) -> Texts:
    known = [texts for texts in several if texts is not None]
    return tuple(text for texts in known for text in texts) if len(known) == len(several) else None


def _bound_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node itself binds, including parameters."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=module, asname=name):
            yield (name or module).partition(".")[0]
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.match_case(pattern=pattern):
            yield from captures(pattern)
