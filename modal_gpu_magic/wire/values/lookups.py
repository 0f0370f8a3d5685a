"""Names that code looks up at run time from a string: the names in a string, and whether code may look up any name.

`plan.cell.dynamic_names` finds such lookups in the text of a cell. This module finds them in the code objects of
functions that the cell calls.
"""

from __future__ import annotations

import ast
import dis
import re
import types
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_TEXT = 10_000
"""Longest text in characters that may be a formula, a query or code; a longer text is data."""

NAMESPACE_ATTRIBUTES = frozenset({"f_globals", "f_locals", "__globals__", "user_ns", "user_global_ns"})
"""Attributes of frames, functions and IPython's shell whose value may be the notebook's namespace."""

REGISTRY = "__subclasses__"
"""The method of a class that finds classes without a name."""

MAIN_MODULE = "__main__"

INTERACTIVE = frozenset({"breakpoint", "set_trace"})
"""Functions with a prompt, at which the user may type any name."""

FROM_MAIN_MODULE = {
    "unittest.main": "module",
    "unittest.TestProgram": "module",
    "doctest.testmod": "m",
    "doctest.run_docstring_examples": "",
    "code.interact": "",
    "IPython.embed": "",
    "dill.dump_session": "",
    "dill.dump_module": "",
    "dill.load_session": "",
    "ipytest.run": "",
    "pdb.set_trace": "",
    "ipdb.set_trace": "",
}
"""Functions that read all names of `__main__`, each with the first parameter, which names another module to read
instead; empty: the function has no such parameter."""

_FREE_FUNCTIONS = frozenset({"globals", "eval", "exec", MAIN_MODULE, *INTERACTIVE})
"""Functions and names whose use means that code may look up any name."""

_GLOBAL_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})

_AT_NAME = re.compile(r"(?<![\w.@])@([^\W\d]\w*)")
_SQL = re.compile(r"(\bselect\b.*?)\bfrom\b", re.IGNORECASE | re.DOTALL)
_SQL_NAME = re.compile(r"(?:\bfrom|\bjoin|,)\s+([^\W\d]\w*)", re.IGNORECASE)
_PLACES = re.compile(r"\{[^{}]*\}|\$\w+|%\(\w+\)")
_WORD = re.compile(r"(?<![\w.])[^\W\d]\w*")


def words(text: str) -> frozenset[str]:
    """Return every name in a text: `f(a.b) + c` has `f`, `a`, `c`."""
    return frozenset(_WORD.findall(text))


def filled_in(text: str) -> frozenset[str]:
    """Return the names in the placeholders of a text: `{v}`, `{{ v }}`, `$v`, `%(v)s`."""
    return frozenset(name for part in _PLACES.findall(text) for name in words(part))


def mentioned(text: str) -> frozenset[str]:
    """Return the names that a library may look up in the caller for a formula, a query or an SQL statement.

    `y ~ sq(x)` mentions `sq`, and `x` and `y` if the table has no such columns (patsy); `x > @limit` mentions `limit`
    (pandas); `select a from df` mentions `df` (duckdb, polars, pandasql).
    """
    return _mentioned(text) if len(text) <= LONGEST_TEXT else frozenset()


@lru_cache(maxsize=1024)
def _mentioned(text: str) -> frozenset[str]:
    return frozenset(name for marks, find in _TEXTS for name in (find(text) if marks in text.lower() else ()))


def names_of_formula(text: str) -> Iterator[str]:
    """Yield all names of a formula, including columns of the table, which only the table distinguishes."""
    return (node.id for tree in _sides(text) for node in ast.walk(tree) if isinstance(node, ast.Name))


def _sides(text: str) -> tuple[ast.Expression, ...]:
    """Parse the left and the right side of the one `~` as Python. Empty: the text is no formula."""
    left, tilde, right = text.partition("~")
    if not tilde or "~" in right or not right.strip():
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `5(x)` makes the compiler warn
        try:
            return tuple(
                ast.parse(side.strip().replace(":", "*"), mode="eval") for side in (left, right) if side.strip()
            )
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ()


def _tables_of_sql(text: str) -> list[str]:
    begins = _SQL.search(text)
    return _SQL_NAME.findall(text, begins.end(1)) if begins else []


_TEXTS: tuple[tuple[str, Callable[[str], Iterator[str] | list[str]]], ...] = (
    ("~", names_of_formula),
    ("@", _AT_NAME.findall),
    ("select", _tables_of_sql),
)
"""Marks in lower case that a text must contain, each with the function that finds the names in the text."""


@lru_cache(maxsize=4096)
def names_in_texts(code: types.CodeType) -> frozenset[str]:
    """Return the names in the string constants of a function's code and of nested code."""
    texts = [text for text in code.co_consts if isinstance(text, str)]
    return frozenset[str]().union(*map(mentioned, texts), *map(names_in_texts, _inner(code)))


@lru_cache(maxsize=4096)
def code_looks_up_any_name(code: types.CodeType) -> bool:
    """Whether a function's code, or nested code, may look up any name of the notebook."""
    return _is_free(code) or any(map(code_looks_up_any_name, _inner(code)))


def _is_free(code: types.CodeType) -> bool:
    steps = list(dis.get_instructions(code))
    loads = {step.argval for step in steps if step.opname in _GLOBAL_LOADS}
    names = {step.argval for step in steps if isinstance(step.argval, str)}
    asks_sys = "modules" in names and (MAIN_MODULE in names or "__name__" in loads)
    imports_main = any(step.opname == "IMPORT_NAME" and step.argval == MAIN_MODULE for step in steps)
    return (
        bool(loads & _FREE_FUNCTIONS)
        or bool(names & (NAMESPACE_ATTRIBUTES | {REGISTRY}))
        or asks_sys
        or imports_main
        or any(_calls(path, loads, names) for path in FROM_MAIN_MODULE)
    )


def _calls(path: str, loads: set[str], names: set[str]) -> bool:
    """Whether code that loads and uses these names may call the function of a dotted path."""
    module, _, function = path.rpartition(".")
    return function in names and (module in loads or module in names)


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    return (each for each in code.co_consts if isinstance(each, types.CodeType))
