"""Source text of the functions in a transfer, so that the receiver's tracebacks and `inspect.getsource` have it.

Only the lines of the functions are sent, not the rest of the cell, which the user did not ask to send. Above a method,
which would else belong to the function before it, stands the head of its class (`class Model:  # …`). The numbers of
their cells are sent, too: IPython's tracebacks name a cell by its number (`Cell In[2]`), and one without a number by a
path that does not exist.
"""

from __future__ import annotations

import linecache
import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType


OMITTED: Final = "  # …\n"
"""The end of a line that replaces one which was not sent."""


def gather(codes: Iterable[CodeType]) -> dict[str, str]:
    """Return by file name the lines of functions at their line numbers; lines between functions are empty."""
    found: dict[str, dict[int, str]] = {}
    heads: dict[str, dict[int, str]] = {}
    for code in codes:
        if lines := _lines(code):
            found.setdefault(code.co_filename, {}).update(lines)
            heads.setdefault(code.co_filename, {})[code.co_firstlineno] = _head(code)
    return {name: _text(_with_heads(lines, heads[name])) for name, lines in found.items()}


def register(sources: Mapping[str, str]) -> None:
    """Add texts to `linecache`, without overwriting the lines that it has."""
    for name, text in sources.items():
        lines, known = text.splitlines(keepends=True), linecache.getlines(name)
        merged = [_better(old, new) for old, new in zip_longest(known, lines, fillvalue="\n")]
        linecache.cache[name] = len(text), None, merged, name


def _better(old: str, new: str) -> str:
    """Return the line that is known: a replaced one gives way to the user's."""
    is_known = old.strip() and not old.endswith(OMITTED)
    return old if is_known or not new.strip() else new


def numbers(codes: Iterable[CodeType]) -> dict[str, int]:
    """Return by file name the execution counts of the cells that defined functions; other files are left out."""
    known = _known_numbers()
    return {code.co_filename: known[code.co_filename] for code in codes if code.co_filename in known}


def register_numbers(cells: Mapping[str, int]) -> None:
    """Add execution counts of cells to IPython's; of a cell that ran several times the last one holds, as natively."""
    known = _known_numbers()
    for name, number in cells.items():
        known[name] = max(number, known.get(name, number))


def _known_numbers() -> dict[str, int]:
    """Return the dict from which IPython's tracebacks take a cell's number; without a shell, an empty one.

    The dict is private to IPython, which has no function that adds a cell without its whole text.
    """
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    found: dict[str, int] = getattr(getattr(shell, "compile", None), "_filename_map", {})
    return found


def _lines(code: CodeType) -> dict[int, str]:
    """Return a function's own lines by number; empty: the text is unknown.

    Not `inspect.getsourcelines`: it searches all loaded modules for the file, 20 ms a function once torch is loaded.
    """
    import inspect
    import tokenize

    linecache.checkcache(code.co_filename)
    after = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    try:
        lines = inspect.getblock(after) if after else []
    except (SyntaxError, tokenize.TokenError):
        return {}
    return dict(enumerate(lines, code.co_firstlineno))


def _head(code: CodeType) -> str:
    """Return the line that may stand above a function: the head of the class or the function that it was defined in."""
    outer, owner, _ = ["", "", *getattr(code, "co_qualname", "").split(".")][-3:]  # Python 3.11
    if owner == "<locals>":
        head = f"def {outer}():" if outer.isidentifier() else ""  # of a lambda
    else:
        head = f"class {owner}:" if owner else ""
    return (head or "if ...:") + OMITTED


def _with_heads(lines: dict[int, str], heads: Mapping[int, str]) -> dict[int, str]:
    """Add a line above each function that is indented, where the text would make it a part of the one before."""
    added, depth = {}, 0
    for number in sorted(heads):
        indent = len(lines[number]) - len(lines[number].lstrip())
        if indent > depth and number - 1 not in lines:
            added[number - 1] = heads[number]
        depth = indent
    return lines | added


def _text(lines: Mapping[int, str]) -> str:
    return "".join(lines.get(number, "\n") for number in range(1, max(lines) + 1))
