"""Evaluate path expressions statically: `f"data/{i}.csv"`, `Path("a") / name`, `"a/%d.csv" % i`.

No code runs. A part that is known only at run time is a HOLE in the result.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOLE = "\0"
"""Placeholder for an unknown part of a string."""

Known: TypeAlias = Mapping[str, str]
"""Values of names that are bound to strings or paths."""

_PERCENT = re.compile(r"%(?:\(\w*\))?[-+ #0]*[\d*]*(?:\.[\d*]+)?([diouxXeEfFgGcrsa%])")
_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}")
_PATHS = frozenset({"Path", "PosixPath", "PurePath", "PurePosixPath"})
_CWD_CALLS = frozenset({"cwd", "getcwd"})
_DEEPEST = 20
"""Largest number of parent directories to follow."""

_SAME = frozenset({"str", "fspath", "abspath", "realpath", "normpath", "expanduser", "resolve", "absolute", "as_posix"})
"""Functions and methods of a path that return a path of the same file."""


def _above(path: str) -> str:
    """Return the parent directory."""
    if posixpath.basename(path) in ("", ".", ".."):
        return posixpath.join(path, "..").removeprefix("./")
    return posixpath.dirname(path) or "."


_TAKERS: dict[str, Callable[[str], str]] = {
    "dirname": _above,
    "basename": posixpath.basename,
}
_ATTRIBUTES: dict[str, Callable[[str], str]] = {
    "parent": _above,
    "name": posixpath.basename,
    "stem": lambda path: posixpath.splitext(posixpath.basename(path))[0],
}


def text_of(node: ast.AST | None, known: Known) -> str | None:
    """Return the string or path of an expression, with HOLEs; None: unknown, or no string."""
    reader = _READERS.get(type(node))
    return reader(node, known) if reader is not None else None


def constants(tree: ast.AST, known: Known) -> dict[str, str]:
    """Return `known` without the names that the code binds, plus names that the code binds once to a known string."""
    nodes = list(ast.walk(tree))
    bound = [node for node in nodes if isinstance(node, _NAMES) and _is_binding(node)]
    count = Counter(node.arg if isinstance(node, ast.arg) else node.id for node in bound)
    found = {name: text for name, text in known.items() if name not in count}
    for node in [node for node in nodes if isinstance(node, _BINDERS)]:
        with suppress(RecursionError):
            for name, value in _bindings(node):
                text = text_of(value, found) if count[name] == 1 else None
                found.update({name: text} if text is not None else {})
    return found


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the names that an assignment binds, or a function's arguments with defaults, each with the value."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            yield name, value
        case ast.arguments():
            positional = [*node.posonlyargs, *node.args]
            last = positional[len(positional) - len(node.defaults) :]
            pairs = [*zip(last, node.defaults, strict=True), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
            yield from ((arg.arg, value) for arg, value in pairs)


_NAMES = (ast.Name, ast.arg)
_BINDERS = (ast.Assign, ast.AnnAssign, ast.arguments)


def _is_binding(node: ast.Name | ast.arg) -> bool:
    return isinstance(node, ast.arg) or not isinstance(node.ctx, ast.Load)


def _constant(node: ast.Constant, _: Known) -> str | None:
    return node.value if isinstance(node.value, str) and HOLE not in node.value else None


def _name(node: ast.Name, known: Known) -> str | None:
    return known.get(node.id)


def _f_string(node: ast.JoinedStr, known: Known) -> str | None:
    return "".join(text_of(part, known) or HOLE for part in node.values)


def _field(node: ast.FormattedValue, known: Known) -> str | None:
    return text_of(node.value, known) if node.format_spec is None and node.conversion == -1 else HOLE


def _operation(node: ast.BinOp, known: Known) -> str | None:
    left, right = text_of(node.left, known), text_of(node.right, known)
    if isinstance(node.op, ast.Mod):
        return None if left is None else _PERCENT.sub(lambda match: "%" if match[1] == "%" else HOLE, left)
    if (left is None and right is None) or not isinstance(node.op, ast.Add | ast.Div):
        return None
    if isinstance(node.op, ast.Add):
        return (left or HOLE) + (right or HOLE)
    return posixpath.join(left or HOLE, right or HOLE)


def _attribute(node: ast.Attribute, known: Known) -> str | None:
    taker, text = _ATTRIBUTES.get(node.attr), text_of(node.value, known)
    return taker(text) if taker is not None and text is not None else None


def _subscript(node: ast.Subscript, known: Known) -> str | None:
    """`path.parents[1]`."""
    match node:
        case ast.Subscript(value=ast.Attribute(attr="parents", value=path), slice=ast.Constant(value=int(number))):
            text = text_of(path, known)
            for _ in range(min(number, _DEEPEST) + 1):
                text = None if text is None else _above(text)
            return text
    return None


def _call(node: ast.Call, known: Known) -> str | None:
    match node:
        case ast.Call(func=ast.Attribute(attr=word, value=value)):
            text = text_of(value, known)
            return _function(word, node, known) if text is None else _method(word, text, node, known)
        case ast.Call(func=ast.Name(id=word)):
            return _function(word, node, known)
    return None


def _function(word: str, node: ast.Call, known: Known) -> str | None:
    first = text_of(node.args[0], known) if node.args else None
    if word in _CWD_CALLS and not node.args:
        return "."
    if word in _PATHS:
        return joined(node.args, known) if node.args else "."
    if word == "join":
        return joined(node.args, known)
    if first is None:
        return None
    if word in _SAME:
        return first
    return _TAKERS[word](first) if word in _TAKERS else None


def _method(word: str, text: str, node: ast.Call, known: Known) -> str | None:
    first = text_of(node.args[0], known) if node.args else None
    if word == "format":
        return _BRACES.sub(lambda match: match[0][0] if match[0] in ("{{", "}}") else HOLE, text)
    if word in _SAME:
        return text
    if word == "joinpath":
        return posixpath.join(text, joined(node.args, known) or HOLE)
    if word == "with_suffix" and first is not None:
        return posixpath.splitext(text)[0] + first
    if word == "with_name" and first is not None:
        return posixpath.join(posixpath.dirname(text), first)
    return None


def joined(parts: Iterable[ast.expr], known: Known) -> str | None:
    """Return the path that `Path(...)` or `os.path.join(...)` makes of its arguments; None: none is known."""
    texts = [text_of(part, known) for part in parts]
    if not any(texts):
        return None
    return posixpath.join(*(text if text is not None else HOLE for text in texts))


_READERS: dict[type, Callable[..., str | None]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.JoinedStr: _f_string,
    ast.FormattedValue: _field,
    ast.BinOp: _operation,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Call: _call,
}
