"""Python code inside strings: IPython's magics and shell lines, `exec`, `timeit`, `pd.eval`.

Each such call is translated into Python code that uses the same names; `plan.cell.expressions` reads that code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Literal

from modal_gpu_magic.plan.cell.texts import KnownTexts, last_word
from modal_gpu_magic.wire.values.lookups import names_of_formula, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.plan.cell.texts import Texts


@dataclass(frozen=True, slots=True)
class Piece:
    """Code that a call with constant strings runs.

    Attributes:
        source: the code; for `mention`, `name`, `bind`, `delete` and `import` a name.
        how: `cell`: IPython's syntax, in the cell's namespace. `timed`: the same in a new function.
            `python`: plain Python in the current scope. `main`: plain Python in the notebook's namespace.
            `elsewhere`: plain Python, maybe in another namespace. `quoted`: the same in a new function.
            `mention`: a name that the callee looks up in its caller. `name`, `bind`, `delete`: a name of the
            notebook that is looked up, bound, deleted. `any`: any name may be looked up.
            `import`: an imported module.
    """

    source: str
    how: Literal[
        "cell", "timed", "python", "main", "elsewhere", "quoted", "mention", "name", "bind", "delete", "any", "import"
    ]


SCRIPTS = frozenset({"bash", "perl", "pypy", "python", "python2", "python3", "ruby", "script", "sh"})
"""Cell magics that run their body in another program."""

_LINES = {
    "time": "code",
    "timeit": "timed",
    "prun": "code",
    "memit": "code",
    "lprun": "code",
    "mprun": "code",
    "debug": "debugger",
    "run": "script file",
    "store": "store",
    **dict.fromkeys(("who", "whos", "who_ls", "psearch"), "any"),
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
"""Role of the line by magic. The line of any other magic is text, in which IPython expands `{x}` and `$x`."""

_BODIES = {
    "time": "code",
    "timeit": "timed",
    "prun": "code",
    "memit": "code",
    "debug": "debugger",
    "ipytest": "tests",
    "run_pytest": "tests",
    "capture": "code",
    "!": "text",
    "sx": "text",
    "system": "text",
}
"""Role of the body by cell magic. The body of any other magic is no Python of the cell: HTML, a script, a file."""

_OPTIONS = {
    "timeit": "n:r:tcp:qov:",
    "prun": "D:l:rs:T:q",
    "debug": "b:",
    "memit": "r:t:i:oc",
    "lprun": "rzf:m:D:T:s:u:",
    "mprun": "rf:T:c",
}
"""Options before the code, as IPython's own getopt strings (IPython/core/magics/execution.py, 9.x), and those of
line_profiler and memory_profiler."""

_TARGETS = {
    "capture": re.compile(r"(?:^|\s)([^\W\d]\w*)"),
    "script": re.compile(r"--(?:out|err|proc)[ =](\w+)"),
    "timed": re.compile(r"(?:^|\s)-v\s*(\w+)"),
}
"""Variables that a magic binds by an option."""

_DOLLAR = re.compile(r"\$(\$?)([^\W\d]\w*)")
_QUERY_NAME = re.compile(r"(?<![\w.@])@([^\W\d]\w*)")
_SQL_NAME = re.compile(r"\b(?:from|join)\s+([^\W\d]\w*)", re.IGNORECASE)

_MENTIONS = {"query": _QUERY_NAME, "eval": _QUERY_NAME, "sql": _SQL_NAME}
"""Methods whose string names variables of the caller: pandas' `query("a > @x")`, duckdb's `sql("from df")`."""

_EXPRESSIONS = frozenset({"pandas.eval", "numexpr.evaluate"})
"""Functions that evaluate a text with the variables of their caller."""

_STATEMENTS = frozenset({"cProfile.run", "profile.run", "pdb.run", "pdb.runeval"})
"""Functions that run a text in `__main__`."""

_TIMERS = frozenset({"timeit.timeit", "timeit.repeat", "timeit.Timer", "timeit"})
"""Functions that run a set-up string and a string in a new function."""

_DESIGNS = frozenset({"dmatrix", "dmatrices", "model_matrix"})
"""Functions whose text is a formula in any case."""

_TEXT_KEYWORDS = ("stmt", "expr", "ex", "statement", "source", "formula_like", "spec")
"""Names of the parameter for the string."""


@dataclass(frozen=True, slots=True)
class Callee:
    """Facts about a call.

    Attributes:
        path: dotted path of the function by the cell's imports, `pandas.eval`.
        builtin: name of the builtin function; empty: no builtin.
        is_namespace: returns whether an argument is the notebook's namespace.
    """

    path: str
    builtin: str
    is_namespace: Callable[[ast.AST], bool]


def is_shell_call(call: ast.Call) -> bool:
    """Whether a call is a translation of IPython's syntax, such as `get_ipython().run_line_magic(...)`."""
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython"), args=[], keywords=[]), attr=attr):
            return attr in _SHELL_CALLS
    return False


def pieces(call: ast.Call, texts: KnownTexts, callee: Callee) -> Iterator[Piece]:
    """Yield the code in the string arguments of a call, in the order of execution."""
    word, text = last_word(call.func), texts.of(text_of(call))
    if isinstance(call.func, ast.Attribute) and (is_shell_call(call) or word in _ANY_SHELL_CALLS):
        yield from _shell_call(call, word, texts)
    elif callee.builtin in ("exec", "eval"):
        yield from _run_by_builtin(call, text, callee)
    elif callee.path in _EXPRESSIONS:
        own = any(keyword.arg == "local_dict" and not callee.is_namespace(keyword.value) for keyword in call.keywords)
        yield from _each(text, "elsewhere", () if own else (Piece("", "any"),))
    elif callee.path in _STATEMENTS:
        yield from _each(text, "main", (Piece("", "any"),))
    elif callee.path in _TIMERS:
        setup = texts.of(_argument(call, 1, ("setup",))) or ("",)
        yield from (Piece(f"{before}\n{each}", "quoted") for before in setup for each in text or ("",))
    elif word in ("__import__", "import_module"):
        yield from _each(text, "import")
    elif word == "aes":
        yield from (Piece(name, "mention") for each in _texts_given(call, texts) for name in sorted(words(each)))
    elif word in _DESIGNS:  # `~` may be left out
        yield from (
            Piece(name, "mention") for each in text or () for name in sorted(set(names_of_formula(f"~ {each}")))
        )
    if isinstance(call.func, ast.Attribute) and word in _MENTIONS:
        yield from (Piece(name, "mention") for each in text or () for name in _MENTIONS[word].findall(each))


def pieces_of_shell_call(call: ast.Call) -> Iterator[Piece]:
    """Yield the code in a magic or a shell line; see `is_shell_call`."""
    return _shell_call(call, last_word(call.func), KnownTexts(None))


def _run_by_builtin(call: ast.Call, text: Texts, callee: Callee) -> Iterator[Piece]:
    """Yield the code of `exec` and `eval`, with or without namespace arguments."""
    spaces = [*call.args[1:], *(keyword.value for keyword in call.keywords if keyword.arg != "closure")]
    given = [each for each in spaces if not (isinstance(each, ast.Constant) and each.value is None)]
    if not all(callee.is_namespace(each) for each in given) or (text is not None and len(text) > 1):
        yield from _each(text, "elsewhere")
    else:
        yield from _each(text, "main" if given else "python", (Piece("", "any"),))


def _each(
    text: Texts, how: Literal["main", "python", "elsewhere", "import"], unknown: tuple[Piece, ...] = ()
) -> Iterator[Piece]:
    yield from unknown if text is None else (Piece(each, how) for each in text)


def text_of(call: ast.Call) -> ast.expr | None:
    """Return the argument that is a string, if the callee takes a string."""
    return _argument(call, 0, _TEXT_KEYWORDS)


def _argument(call: ast.Call, position: int, keywords: tuple[str, ...]) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg in keywords), None)


def _texts_given(call: ast.Call, texts: KnownTexts) -> Iterator[str]:
    for each in (*call.args, *(keyword.value for keyword in call.keywords)):
        yield from texts.of(each) or ()


def _shell_call(call: ast.Call, word: str, texts: KnownTexts) -> Iterator[Piece]:
    """Yield the code in a call of IPython's shell, the translation of a magic."""
    given = [texts.of(each) for each in call.args]
    strings = [each[0] for each in given if each is not None and len(each) == 1]
    if call.args and len(strings) == len(given):
        yield from _SHELL_CALLS[word](*strings)
    elif word not in ("system", "getoutput"):
        yield Piece("", "any")


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
    if role in ("code", "debugger", "tests"):
        yield Piece(body, "cell")
    if role in ("debugger", "tests"):
        yield Piece("", "any")
    yield from _line(name, line)


def _line(name: str, line: str) -> Iterator[Piece]:
    """Yield the code in the line of a line magic or a cell magic."""
    role = _LINES.get(name, "text")
    if role in ("code", "timed", "debugger"):
        yield Piece(_without_options(name, line), "timed" if role == "timed" else "cell")
    if role in ("any", "debugger") or (role == "script file" and "-i" in line.split()):
        yield Piece("", "any")
    if role == "object":
        yield Piece(line, "python")
    elif role == "deleted":
        yield Piece("del " + line.replace("-n", "").strip(), "python")
    elif role in ("module", "matplotlib"):
        yield Piece(line.strip() if role == "module" else role, "import")
    elif role == "store":
        yield from _store(line.split())
    elif role in ("text", "script", "script file", "target"):
        yield from _text(line)
    yield from _bound(role if role in _TARGETS else name, line)


def _bound(role: str, line: str) -> Iterator[Piece]:
    if role in _TARGETS:
        yield from (Piece(f"{name} = None", "python") for name in _TARGETS[role].findall(line))


def _store(line: list[str]) -> Iterator[Piece]:
    """`%store x y`, `%store x > file` and `%store -r x`."""
    if line and line[0] == "-r":
        yield from (Piece(name, "bind") for name in line[1:])
    elif line and not line[0].startswith("-"):
        names = line[:1] if any(each.startswith(">") for each in line) else line
        yield from (Piece(name, "python") for name in names)


def _text(text: str) -> Iterator[Piece]:
    """Yield the expressions that IPython expands in a text: `{any.expression}`, `$name`; none for invalid braces."""
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
    """Return the line of a magic without its options."""
    letters = _OPTIONS.get(magic, "")
    valued = "".join(re.findall(r"(\w):", letters))
    plain = "".join(letter for letter in letters if letter not in valued + ":")
    if not letters:
        return re.sub(r"^\s*--no-raise-error\s+", "", line)
    return re.sub(rf"^\s*(?:-[{plain or '-'}]*(?:[{valued}]\s*\S+)?(?:\s+|$))*", "", line)


def _code(text: str, *_: str) -> Iterator[Piece]:
    yield Piece(text, "cell")


_SHELL_CALLS: dict[str, Callable[..., Iterator[Piece]]] = {
    "run_line_magic": _line_magic,
    "run_cell_magic": _cell_magic,
    "system": _text,
    "getoutput": _text,
    "run_cell": _code,
    "ex": _code,
    "ev": _code,
}
_ANY_SHELL_CALLS = frozenset({"run_line_magic", "run_cell_magic", "run_cell"})
"""Methods that only the shell has, so that they are recognised after `ip = get_ipython()`."""
