"""The words of user-visible text; `make check` runs this file.

Checked are string literals inside calls of the package's error classes and of functions that show a text to the user.
Code in backticks and options such as `--here` do not count. Docstrings and comments are not checked: a person reads them.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "modal_gpu_magic"

FORBIDDEN = {
    "there": "name the place: in the container, on the Volume",
    "here": "name the place: in the notebook, in the kernel",
    "home": "in the notebook",
    "told": "name the fact",
    "over there": "in the container",
    "far side": "in the container",
    "let go": "stop, release",
    "cannot travel": "cannot be sent",
    "is gone": "has ended, no longer exists",
    "lives in": "is in",
    "anew": "again",
    "travel": "send",
    "travels": "is sent",
    "for want of": "out of",
    "would do": "would run",
    "gave up": "aborted, stopped waiting",
    "goes on": "is still running",
    "on its way": "in transit",
    "be paid for": "be billed",
    "is paid for": "is billed",
}
"""Words that a message must not use, each with the plain wording."""

SPEAKERS = frozenset({"say", "remark", "note", "warn", "tell", "show", "show_text", "print", "refusal", "stopped"})
"""Names of functions and methods whose string arguments the user sees."""

NO_ERRORS_OF_USERS = frozenset({"KeyError", "AttributeError", "StopIteration"})
"""Exceptions whose argument is a name and no sentence."""

_CODE = re.compile(r"`[^`]*`|--[\w-]+")


def faults(package: Path) -> Iterator[str]:
    """Yield one line for each forbidden word: path, line number, word and advice."""
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            for word, advice in FORBIDDEN.items():
                if re.search(rf"\b{word}\b", _CODE.sub("", text), re.IGNORECASE):
                    yield f"{place.as_posix()}:{line}: {word!r} in a message; write: {advice}"


def texts(source: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the user-visible strings of a module with their line numbers; an f-string without its values."""
    seen: set[int] = set()
    for call in ast.walk(source):
        if not isinstance(call, ast.Call) or not _is_visible(call.func):
            continue
        for argument in (*call.args, *(each.value for each in call.keywords)):
            for node in ast.walk(argument):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
                    seen.add(id(node))
                    yield node.lineno, node.value


def _is_visible(function: ast.expr) -> bool:
    """Whether a called function is an error class or shows its arguments."""
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    is_error = name.endswith(("Error", "Lost", "Timeout")) and name not in NO_ERRORS_OF_USERS
    return is_error or name in SPEAKERS


if __name__ == "__main__":
    sys.exit("\n".join(list(faults(PACKAGE))) or None)
