"""Strings of a cell that look like paths of local files: `open("data/x.csv")`, `Path("a") / "b.csv"`, `!python a.py`.

Candidates only. Whether a file is there, small enough and meant, is for the caller to see; nothing here looks.
"""

from __future__ import annotations

import ast
import posixpath
import re
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.texts import last_word
from modal_gpu_magic.plan.cellsource import parse_cell
from modal_gpu_magic.plan.embedded import SCRIPTS, is_shell_call, pieces_of_shell_call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.plan.cellsource import Transform

_LIKE_A_PATH = re.compile(r"(?!-)[^*?<>|\"{}]*(?:/[^/*?<>|\"{}]+|\.[A-Za-z]\w{0,9})")
"""A last part behind a slash, or an extension; no pattern, no markup, no option."""

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
        source: the cell as typed.
        transform: how it becomes Python; None: as IPython does by default.
    """
    tree = parse_cell(source, transform)
    reader = _Literals(transform)
    with suppress(RecursionError):  # of a tree too deep to follow, what was found so far are candidates all the same
        reader.visit(tree or ast.Module([], []))
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
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):  # the text between is only part of a path
                self.visit(part.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        whole = _joined(node)
        if whole:
            self.found.append(whole)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        word = last_word(node.func)
        whole = _joined(node)
        if is_shell_call(node):
            self._shell(node, [each.value for each in node.args if isinstance(each, ast.Constant)])
        elif whole:
            self.found.append(whole)
        elif _WRITERS.fullmatch(word) or (word == "open" and _opens_to_write(node)):
            self._visit_nested(node)
        else:
            first = node.args[0] if _READERS.fullmatch(word) and node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and _may_be_a_name(first.value):
                self.found.append(first.value)
            self.generic_visit(node)

    def _visit_nested(self, node: ast.Call) -> None:
        """Visit a call that makes a file, without the paths it is given itself."""
        for part in (node.func, *node.args, *(each.value for each in node.keywords)):
            if not _joined(part) and not isinstance(part, ast.Constant):
                self.visit(part)

    def _shell(self, node: ast.Call, texts: list[object]) -> None:
        """What IPython's own syntax names: words of a command, or literals of the code that a magic runs."""
        code = [piece for piece in pieces_of_shell_call(node) if piece.how in ("cell", "timed")]
        for piece in code:
            self.found += paths(piece.source, self._transform)
        name, *rest = texts if last_word(node.func).startswith("run_") else ("", *texts)
        if not code and not _WRITERS.fullmatch(str(name)):
            for text in rest if name in SCRIPTS else rest[:1]:
                self.found += filter(_looks_like_a_path, _words(str(text)))


def _joined(node: ast.AST) -> str | None:
    """The path that `Path("a", "b") / "c"` and `os.path.join("a", "b")` make of constants; None for anything else."""
    match node:
        case ast.BinOp(left=left, op=ast.Div(), right=ast.Constant(value=str(name))):
            before = _joined(left)
            return before and posixpath.join(before, name)
        case ast.Call(func=func, args=[_, *_] as parts, keywords=[]) if last_word(func) in _FOLDERS:
            names = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            is_path = len(names) == len(parts) and all(map(_may_be_a_name, names))
            return posixpath.join(*names) if is_path else None
    return None


def _opens_to_write(node: ast.Call) -> bool:
    """Whether `open`'s mode makes the file anew: then what is here now does not matter."""
    modes = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & {"w", "x"} for mode in modes)


def _words(command: str) -> Iterator[str]:
    """Words of a shell command that it may read: not where output is redirected to; the value of `--option=value`."""
    for line in _REDIRECTED.sub(" ", command).splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # quotes that a later line closes
            words = line.split()
        yield from (word.rpartition("=")[2] for word in words)


def _looks_like_a_path(text: str) -> bool:
    return _may_be_a_name(text) and bool(_LIKE_A_PATH.fullmatch(text))


def _may_be_a_name(text: str) -> bool:
    """Whether a text can name a file here at all: no address, no text with lines, not a file of every machine's own."""
    named = text.strip("./~") and len(text) <= _LONGEST and text.isprintable() and text == text.strip()
    return bool(named) and "://" not in text and not text.startswith(_OF_THE_MACHINE)
