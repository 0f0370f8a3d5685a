"""Strings of a cell that look like paths of local files: `open("data/x.csv")`, `Path("data") / "x.csv"`, `!python a.py`.

Candidates only. Whether a file is there, small enough and meant, is for the caller to see; nothing here looks.
"""

# ruff: noqa: N815 - methods bear the names of the nodes they read, as ast.NodeVisitor asks

from __future__ import annotations

import ast
import posixpath
import re
import shlex
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cellsource import parse_cell
from modal_gpu_magic.plan.embedded import SCRIPTS, is_shell_call, pieces

if TYPE_CHECKING:
    from modal_gpu_magic.plan.cellsource import Transform

_LIKE_A_PATH = re.compile(
    r"(?!-)"  # an option
    r"(?=.*[^./~])"  # more than a way up
    r"(?:[^\x00-\x1f/*?<>|\"{}]*/)*"
    r"(?:(?<=/)[^\x00-\x1f/*?<>|\"{}]+"  # behind a slash, any name
    r"|[^\x00-\x1f/*?<>|\"{}]*\.[A-Za-z]\w{0,9})"  # else one with an extension
)
_LONGEST = 1024
"""Characters. Longer strings are texts; the systems we know refuse longer paths in one call."""

_OF_THE_MACHINE = ("/bin/", "/boot/", "/dev/", "/etc/", "/lib", "/proc/", "/run/", "/sbin/", "/sys/", "/usr/", "/var/")
"""Where a container has its own: a cell that names `/proc/meminfo` means the container's."""

_FOLDERS = frozenset({"Path", "PosixPath", "PurePath", "PurePosixPath", "join"})
"""Calls that join their arguments to one path."""

_READERS = re.compile(r"open|Path|read_\w+|load\w*|from_file|imread|Image")
"""Last words of calls whose first string is a path, whatever it looks like: `open("README")`."""

_WRITERS = re.compile(r"to_\w+|save\w*|write\w*|dump\w*|imsave|imwrite|mkdir|makedirs|touch|logstart")
"""Last words of calls, and magics, whose strings name files that they make."""

_REDIRECTED = re.compile(r"\d?>>?\s*[^\s|;&]+")


def paths(source: str, transform: Transform | None = None) -> tuple[str, ...]:
    """The candidates in a cell, as written, in the order they appear, each once. Never raises.

    Args:
        source: the cell as typed. transform: how it becomes Python; None: as IPython does by default.
    """
    tree = parse_cell(source, transform)
    reader = _Literals(transform)
    try:
        reader.visit(tree or ast.Module([], []))
    except RecursionError:  # a tree too deep to follow: what was found so far are candidates all the same
        pass
    return tuple(dict.fromkeys(reader.found))


class _Literals(ast.NodeVisitor):
    """Collects candidates, each from the call it stands in."""

    def __init__(self, transform: Transform | None) -> None:
        self.found: list[str] = []
        self._transform = transform

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and _looks_like_a_path(node.value):
            self.found.append(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):  # the text between is only part of a path
                self.visit(part.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._whole(node)

    def visit_Call(self, node: ast.Call) -> None:
        word = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if is_shell_call(node):
            self._shell(word, [each.value for each in node.args if isinstance(each, ast.Constant)])
        elif word in _FOLDERS:
            self._whole(node)
        elif _WRITERS.fullmatch(word) or (word == "open" and _opens_to_write(node)):
            self._visit_nested(node)
        else:
            first = node.args[0] if node.args else None
            if _READERS.fullmatch(word) and isinstance(first, ast.Constant) and _is_a_name(first.value):
                self.found.append(first.value)
            self.generic_visit(node)

    def _whole(self, node: ast.BinOp | ast.Call) -> None:
        """A path joined from constants counts as one; its parts are no paths of their own."""
        joined = _joined(node)
        if joined is None:
            self.generic_visit(node)
        elif _is_a_name(joined):
            self.found.append(joined)

    def _visit_nested(self, node: ast.Call) -> None:
        """Visit a call but for its own strings and paths."""
        parts = [node.func, *node.args, *(each.value for each in node.keywords)]
        for part in parts:
            if _joined(part) is None:
                self.visit(part)

    def _shell(self, call: str, texts: list[object]) -> None:
        """What IPython's own syntax names: words of a command, or of the cell that a magic runs."""
        for piece in pieces(ast.Call(_shell_method(call), [ast.Constant(text) for text in texts], [])):
            if piece.how in ("cell", "timed"):
                self.found += paths(piece.source, self._transform)
                return
        name, *rest = (str(text) for text in texts) if call.startswith("run_") else ("!", *map(str, texts))
        if not _WRITERS.fullmatch(name):
            for text in rest if name in SCRIPTS else rest[:1]:
                self.found += _words(text)


def _looks_like_a_path(text: str) -> bool:
    fits = len(text) <= _LONGEST and "://" not in text and text == text.strip()
    return fits and bool(_LIKE_A_PATH.fullmatch(text)) and not text.startswith(_OF_THE_MACHINE)
