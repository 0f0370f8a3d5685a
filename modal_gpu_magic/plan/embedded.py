"""Python that hides in strings: what IPython's magics and shell lines do to names, `exec`, and `@name` in a query.

Each such call is said as the Python that touches the same names; `plan.expressions` reads it like any other.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Piece:
    """Code that a call with constant strings runs.

    Attributes:
        source: the code; for `mention` and `import` the bare name.
        how: `cell`: with IPython's syntax, in the cell's namespace. `timed`: the same, in a function of its own.
            `python`: plain Python, here. `elsewhere`: plain Python, perhaps in another namespace.
            `mention`: a name that the callee looks up in its caller. `import`: a module that it imports.
    """

    source: str
    how: Literal["cell", "timed", "python", "elsewhere", "mention", "import"]


SCRIPTS = frozenset({"bash", "perl", "pypy", "python", "python2", "python3", "ruby", "script", "sh"})
"""Cell magics that run their body in a program of its own."""

_LINES = {
    "time": "code",
    "timeit": "timed",
    "prun": "code",
    "debug": "code",
    "capture": "target",
    "pinfo": "object",
    "pinfo2": "object",
    "pdef": "object",
    "pdoc": "object",
    "pfile": "object",
    "psource": "object",
    "xdel": "deleted",
    "load_ext": "module",
    "reload_ext": "module",
    "matplotlib": "matplotlib",
    **dict.fromkeys(SCRIPTS, "script"),
}
"""What the line of a magic of IPython's is. Any other is text, in which `{x}` and `$x` are filled in."""

_BODIES = {
    "time": "code",
    "timeit": "timed",
    "prun": "code",
    "debug": "code",
    "capture": "code",
    "!": "text",
    "sx": "text",
    "system": "text",
}
"""What the body of a cell magic is. Any other is no Python of this cell's: HTML, a shell script, a file's text."""

_OPTIONS = {"timeit": "n:r:tcp:qov:", "prun": "D:l:rs:T:q", "debug": "b:"}
"""Options before the code, as IPython's own getopt strings (IPython/core/magics/execution.py, 9.x)."""

_TARGETS = {
    "capture": re.compile(r"(?:^|\s)([^\W\d]\w*)"),
    "script": re.compile(r"--(?:out|err|proc)[ =](\w+)"),
    "timed": re.compile(r"(?:^|\s)-v\s*(\w+)"),
}
"""Variables that a magic binds by an option."""

_DOLLAR = re.compile(r"\$(\$?)([^\W\d]\w*)")
_QUERY_NAME = re.compile(r"@([^\W\d]\w*)")
_SQL_NAME = re.compile(r"\b(?:from|join)\s+([^\W\d]\w*)", re.IGNORECASE)

_MENTIONS = {"query": _QUERY_NAME, "eval": _QUERY_NAME, "sql": _SQL_NAME}
"""Methods whose string names variables of the caller: pandas' `query("a > @x")`, duckdb's `sql("from df")`."""


def last_word(node: ast.AST) -> str:
    """`Literal` of `typing.Literal`, `open` of `open`; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_shell_call(call: ast.Call) -> bool:
    """Whether a call is what IPython makes of its own syntax: `get_ipython().run_line_magic(...)` and its like."""
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"), args=[], keywords=[]), attr=attr):
            return attr in _SHELL_CALLS
    return False


def pieces(call: ast.Call) -> Iterator[Piece]:
    """The code in a call's constant strings, in the order it runs."""
    texts = [each.value if isinstance(each, ast.Constant) else None for each in call.args]
    strings = [text for text in texts if isinstance(text, str)]
    if not strings or strings[0] is not texts[0]:
        return
    match call.func:
        case ast.Attribute(attr=attr) if is_shell_call(call):
            yield from _SHELL_CALLS[attr](*strings) if len(strings) == len(texts) else ()
        case ast.Name(id="exec" | "eval"):
            yield Piece(strings[0], "python" if len(texts) == 1 else "elsewhere")
        case ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"):
            yield Piece(strings[0], "import")
        case ast.Attribute(attr=attr) if attr in _MENTIONS:
            yield from (Piece(name, "mention") for name in _MENTIONS[attr].findall(strings[0]))


def _line_magic(name: str, line: str = "") -> Iterator[Piece]:
    yield from _line(name, line)


def _cell_magic(name: str, line: str = "", body: str = "") -> Iterator[Piece]:
    role = _BODIES.get(name)
    if role == "timed":  # the line is the set-up; both run in one function
        yield Piece(f"{_without_options(name, line)}\n{body}", "timed")
        yield from _bound("timed", line)
        return
    if role == "text":
        yield from _text(body)
    if role == "code":
        yield Piece(body, "cell")
    yield from _line(name, line)


def _line(name: str, line: str) -> Iterator[Piece]:
    """What the line of a magic does, a line magic's or a cell magic's."""
    role = _LINES.get(name, "text")
    if role in ("code", "timed"):
        yield Piece(_without_options(name, line), "cell" if role == "code" else "timed")
    elif role == "object":
        yield Piece(line, "python")
    elif role == "deleted":
        yield Piece("del " + line.replace("-n", "").strip(), "python")
    elif role in ("module", "matplotlib"):
        yield Piece(line.strip() if role == "module" else role, "import")
    else:
        yield from _text(line)
    yield from _bound(role if role in _TARGETS else name, line)


def _bound(role: str, line: str) -> Iterator[Piece]:
    if role in _TARGETS:
        yield from (Piece(f"{name} = None", "python") for name in _TARGETS[role].findall(line))


def _text(text: str) -> Iterator[Piece]:
    """The expressions IPython fills into a text: `{any.expression}` and `$name`, or none if its braces are broken."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return
    for literal, field, spec, _ in parts:
        yield from (Piece(name, "python") for escape, name in _DOLLAR.findall(literal) if not escape)
        if field:
            yield Piece(field, "python")
        if spec:
            yield from _text(spec)


def _without_options(magic: str, line: str) -> str:
    """A magic's line from where its code begins."""
    letters = _OPTIONS.get(magic, "")
    valued = "".join(re.findall(r"(\w):", letters))
    plain = "".join(letter for letter in letters if letter not in valued + ":")
    if not letters:
        return re.sub(r"^\s*--no-raise-error\s+", "", line)
    return re.sub(rf"^\s*(?:-[{plain or '-'}]*(?:[{valued}]\s*\S+)?(?:\s+|$))*", "", line)


_SHELL_CALLS: dict[str, Callable[..., Iterator[Piece]]] = {
    "run_line_magic": _line_magic,
    "run_cell_magic": _cell_magic,
    "system": _text,
    "getoutput": _text,
}
