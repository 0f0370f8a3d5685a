"""Find the files and directories that code names: `open("data/x.csv")`, `glob("data/*.csv")`, `!python main.py`.

The result has candidates. The caller checks whether a file exists and is small enough; this module reads no files.
"""

from __future__ import annotations

import ast
import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from modal_gpu_magic.plan.cell.cellsource import parse_cell, parse_python
from modal_gpu_magic.plan.cell.embedded import SCRIPTS, is_shell_call, pieces_of_shell_call
from modal_gpu_magic.plan.cell.file_calls import (
    CLASS,
    COMMANDS,
    FILLED,
    FOLDER_WORDS,
    GLOBS,
    LISTERS,
    MODULE,
    NO_FILES,
    READERS,
    SHELL_LISTERS,
    TESTS,
    WRITERS,
    is_path_edit,
    opens_to_write,
)
from modal_gpu_magic.plan.cell.literals import command_words, looks_like_a_path, may_be_a_name
from modal_gpu_magic.plan.cell.module_imports import imported
from modal_gpu_magic.plan.cell.path_text import HOLE, constants, text_of
from modal_gpu_magic.plan.cell.texts import last_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.plan.cell.path_text import Known

How: TypeAlias = Literal[
    "file", "folder", "needed", "made", "listed", "glob", "tested", "written", "module", "entry", "word", "unsure"
]


@dataclass(frozen=True, slots=True)
class Reference:
    """A file, directory, pattern or module that code names.

    Attributes:
        text: a path; with `made`, a path with HOLEs; with `glob`, a pattern; with `module`, a dotted name, after its
            directory if the code changes the directory.
        how: how the code uses the text. `file`: a path. `needed`: a path in a shell command, whose errors this package
            does not explain. `folder`: a word that may be a directory. `made`: a path that is completed at run time.
            `listed`: a directory whose entries are read. `glob`: a pattern whose matches are read. `tested`: a path
            whose existence is tested. `written`: a path, maybe with HOLEs, that the code creates. `module`: a module
            that is run, or imported by a string. `entry`: a directory on the import path. `word`: a word that may be a
            file or directory. `unsure`: a path that is known only at run time, so that each `word` may be meant.
    """

    text: str
    how: How = "file"


def references(source: str, transform: Transform | None = None, known: Known | None = None) -> tuple[Reference, ...]:
    """Return the references of code in order, without duplicates. Never raises.

    Args:
        source: source of a cell, or plain Python.
        transform: turns the cell into Python; None: IPython's default.
        known: values of the notebook's names that are bound to strings or paths.
    """
    return _references(source, transform, frozenset((known or {}).items()))


@lru_cache(maxsize=64)
def _references(source: str, transform: Transform | None, known: frozenset[tuple[str, str]]) -> tuple[Reference, ...]:
    """Cached, because cells run repeatedly."""
    return of_tree(parse_cell(source, transform) or ast.Module([], []), dict(known), transform)


def of_tree(tree: ast.AST, known: Known, transform: Transform | None = None) -> tuple[Reference, ...]:
    """Return the references of parsed code."""
    found: list[Reference] = []
    with suppress(RecursionError):  # for a too deep tree, return the references found so far
        _Reader(constants(tree, known), transform, found).visit(tree)
    return tuple(dict.fromkeys(found))


def of_commands(text: str, known: Known | None = None) -> tuple[Reference, ...]:
    """Return the references of a shell script."""
    reader = _Reader(known or {}, None, [])
    reader.command(text)
    return tuple(dict.fromkeys(reader.found))


def paths(source: str, transform: Transform | None = None) -> tuple[str, ...]:
    """Return the paths that a cell names literally."""
    return tuple(each.text for each in references(source, transform) if each.how in ("file", "needed"))


class _Reader(ast.NodeVisitor):
    """Collects the references in expressions."""

    def __init__(self, known: Known, transform: Transform | None, found: list[Reference]) -> None:
        self.found, self._known, self._transform = found, known, transform
        self._folder = ""

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and may_be_a_name(node.value):
            self._add(node.value, "file" if looks_like_a_path(node.value) else "word")

    def visit_Name(self, node: ast.Name) -> None:
        text = self._known.get(node.id) if isinstance(node.ctx, ast.Load) else None
        if text is not None and may_be_a_name(text):
            self._add(text, "file" if looks_like_a_path(text) else "word")

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._path(node, must_look=True)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):  # the text between is only part of a path
                self._visit_unknown(part.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if self._path(node, must_look=not isinstance(node.op, ast.Div)):
            self._visit_unknown(node.left, node.right)
        elif isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            self.visit(node.right)
        else:
            self.generic_visit(node)

    def visit_List(self, node: ast.List) -> None:
        self._arguments(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._arguments(node)

    def _arguments(self, node: ast.List | ast.Tuple) -> None:
        """Visit a list or tuple that may be the arguments of a program."""
        texts = [text_of(each, self._known) for each in node.elts]
        for option, text in pairwise(texts):
            if option in ("-m", "-c") and text:
                self._program(option, text)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        word = last_word(node.func)
        if is_shell_call(node):
            self._shell(node, [each.value for each in node.args if isinstance(each, ast.Constant)])
        elif any(self._special(kind, word, node) for kind in _SPECIAL):
            self._visit_unknown(node.func, *node.args, *(each.value for each in node.keywords))
        elif self._path(node, must_look=word == "format"):
            self._visit_unknown(*node.args)
        elif WRITERS.fullmatch(word) or (word == "open" and opens_to_write(node)):
            self._writes(node)
            self._visit_unknown(node.func, *node.args, *(each.value for each in node.keywords))
        else:
            self._other_call(word, node)

    def _writes(self, node: ast.Call) -> None:
        """Add the paths in directories that a call may create: the object's own, those of its arguments."""
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        for each in (*owner, *node.args, *(keyword.value for keyword in node.keywords)):
            text = text_of(each, self._known)
            if text is not None and "/" in text.strip("/") and may_be_a_name(text.replace(HOLE, "x")):
                self._add(text, "written")

    def _other_call(self, word: str, node: ast.Call) -> None:
        first = text_of(node.args[0], self._known) if node.args else None
        if node.args and READERS.fullmatch(word) and (first is None or first.startswith(HOLE)):
            self._add("?", "unsure")
        if first is not None and READERS.fullmatch(word) and may_be_a_name(first):
            self._add(first)
        elif first is not None and CLASS.fullmatch(word) and may_be_a_name(first):
            self._add(first, "folder")
        for keyword in node.keywords:
            text = text_of(keyword.value, self._known)
            if text is not None and FOLDER_WORDS.fullmatch(keyword.arg or "") and may_be_a_name(text):
                self._add(text, "folder")
        self.generic_visit(node)

    def _special(self, kind: Callable[[_Reader, str, ast.Call], bool], word: str, node: ast.Call) -> bool:
        return kind(self, word, node)

    def lists(self, word: str, node: ast.Call) -> bool:
        """Handle `os.listdir("data")`, `Path("data").iterdir()`."""
        if word not in LISTERS:
            return False
        own = text_of(node.func.value, self._known) if isinstance(node.func, ast.Attribute) else None
        first = text_of(node.args[0], self._known) if node.args else None
        bare = not node.args and word in ("listdir", "scandir") and not isinstance(own, str)
        folder = first if own is None else own
        if folder is None and not bare:
            self._add("?", "unsure")
            return False
        self._add(folder or ".", "listed")
        return True

    def globs(self, word: str, node: ast.Call) -> bool:
        """Handle `glob("data/*.csv")`, `Path("data").rglob("*.csv")`."""
        if word not in GLOBS or not node.args:
            return False
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        own = text_of(owner, self._known)
        pattern = text_of(node.args[0], self._known)
        if pattern is None or (own is None and owner is not None and not isinstance(owner, ast.Name)):
            self._add("?", "unsure")
            return False
        if own is None and owner is not None and last_word(owner) != "glob":
            self._add("?", "unsure")  # a path, or a module under another name
        roots = [text_of(each.value, self._known) for each in node.keywords if each.arg == "root_dir"]
        base = own if own is not None else roots[0] if roots else ""
        if base is None:
            return False
        self._add(posixpath.join(base, "**" if word == "rglob" else "", pattern), "glob")
        return True

    def tests(self, word: str, node: ast.Call) -> bool:
        """Handle `os.path.exists("data/x.csv")`, `Path("data").is_dir()`."""
        if word not in TESTS:
            return False
        own = text_of(node.func.value, self._known) if isinstance(node.func, ast.Attribute) else None
        text = own if own is not None else text_of(node.args[0], self._known) if node.args else None
        if text is None:
            self._add("?", "unsure")
            return False
        self._add(text, "made" if HOLE in text else "tested")
        return True

    def runs(self, word: str, node: ast.Call) -> bool:
        """Handle `os.system("python main.py")`, `runpy.run_module("pkg.mod")`, `os.chdir("..")`."""
        if is_path_edit(node.func):
            items = [each for arg in node.args for each in (arg.elts if isinstance(arg, ast.List) else [arg])]
            self._entries(text for each in items if (text := text_of(each, self._known)) is not None)
            return True
        text = text_of(node.args[0], self._known) if node.args else None
        if word == "split" and isinstance(node.func, ast.Attribute) and not node.args:
            text = text_of(node.func.value, self._known)
        if text is None:
            return False
        if word in ("run_module", "import_module", "__import__") and MODULE.fullmatch(text):
            self._add(text, "module")
        elif word == "chdir":
            self._move(text)
        elif COMMANDS.fullmatch(word) and " " in text:
            self.command(text)
        else:
            return False
        return True

    def command(self, text: str) -> None:
        """Add the references of a shell command or script."""
        filled = FILLED.sub(lambda match: self._known.get(match[1] or match[2] or "", HOLE), text)
        before = self._folder
        commands = list(command_words(filled))
        for word in (word for words in commands for word in words if word.startswith("PYTHONPATH=")):
            self._entries(word.partition("=")[2].split(":"))
        for program, *rest in filter(None, map(_less_variables, commands)):
            values = [word.rpartition("=")[2] for word in (program, *rest)]
            if program == "cd" and rest:
                self._move(rest[0])
                continue
            runs_python = "-m" in values or any(value.endswith(".py") for value in values)
            for option, value in zip(("", *values), values, strict=False):
                self._word(program, option, value, runs_python=runs_python)
            if program in SHELL_LISTERS and not [word for word in rest if word[0] != "-"]:
                self._add(".", "listed")
        self._folder = before

    def _program(self, option: str, text: str) -> None:
        """Add the module or the code that a Python interpreter runs."""
        if option == "-m" and MODULE.fullmatch(text):
            self._add(text, "module")
        elif option == "-c":
            tree = parse_python(text)
            self.found += of_tree(tree, self._known) if tree is not None else of_commands(text, self._known)
            for name in sorted(imported(text.encode("utf-8", "replace"))):
                self._add(name, "module")

    def _word(self, program: str, option: str, word: str, *, runs_python: bool) -> None:
        plain = may_be_a_name(word) and word[0] != "-" and word != program
        if option in ("-m", "-c"):
            self._program(option, word)
        elif HOLE in word:
            self._made(word)
        elif re.search(r"[*?]", word) and word[0] != "-" and plain:
            self._add(word, "glob")
        elif looks_like_a_path(word):
            self._add(word, "listed" if program in SHELL_LISTERS else "needed")
        elif plain and (runs_python or program not in NO_FILES):
            self._add(word, "listed" if program in SHELL_LISTERS else "folder")

    def _shell(self, node: ast.Call, texts: list[object]) -> None:
        """Add the references of IPython's syntax: words of a command, or references of the code in a magic."""
        code = [piece for piece in pieces_of_shell_call(node) if piece.how in ("cell", "timed")]
        for piece in code:
            self.found += references(piece.source, self._transform, self._known)
        name, *rest = texts if last_word(node.func).startswith("run_") else ("", *texts)
        if name in ("cd", "pushd") and rest:
            self._move(_OPTIONS.sub("", str(rest[0])))
        elif name == "ls":
            self.command(f"ls {' '.join(map(str, rest))}")
        elif not code and not WRITERS.fullmatch(str(name)):
            for text in rest if name in SCRIPTS else rest[:1]:
                self.command(f"%{name} {text}" if name and name not in SCRIPTS else str(text))

    def _entries(self, folders: Iterable[str]) -> None:
        """Add directories on the import path."""
        for folder in folders:
            if folder and HOLE not in folder:
                self._add(folder, "entry")

    def _visit_unknown(self, *nodes: ast.AST) -> None:
        """Visit the parts of an expression that are known only at run time."""
        for node in nodes:
            inner = node.value if isinstance(node, ast.Attribute) else node
            if text_of(inner, self._known) is None and not isinstance(inner, ast.Constant):
                self.visit(inner)

    def _path(self, node: ast.expr, *, must_look: bool) -> bool:
        """Add the path of an expression. False: the expression has no known path."""
        text = text_of(node, self._known)
        if text is None or text.startswith(HOLE):
            return self._made(text or "")
        if HOLE in text:
            self._made(text)
        elif looks_like_a_path(text) if must_look else may_be_a_name(text):
            self._add(text)
        return True

    def _made(self, text: str) -> bool:
        """Add a path that is completed at run time, if its directory or its extension is known."""
        folder, _, name = text.rpartition("/")
        is_path = may_be_a_name(text.replace(HOLE, "x")) and (folder.strip(HOLE + "./") or _extension(name))
        if HOLE in text and is_path and not text.startswith(HOLE + "/"):
            self._add(text, "made")
            return True
        return False

    def _move(self, folder: str) -> None:
        """Record a change of directory: later relative paths may be relative to the new directory."""
        if HOLE not in folder and may_be_a_name(folder + "/x"):
            self._add(folder, "tested")
            self._folder = posixpath.join(self._folder, folder)

    def _add(self, text: str, how: How = "file") -> None:
        if not text:
            return
        self.found.append(Reference(text, how))
        if self._folder and not text.startswith("/"):
            self.found.append(Reference(posixpath.join(self._folder, text), how))


_OPTIONS = re.compile(r"^(?:-\w+\s+)+")
"""Options before the argument of a magic: `%cd -q data`."""
_SPECIAL = (_Reader.lists, _Reader.globs, _Reader.tests, _Reader.runs)


def _less_variables(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command without leading variable assignments."""
    begin = next((number for number, word in enumerate(words) if not re.match(r"\w+=", word)), len(words))
    return words[begin:]


def _extension(name: str) -> bool:
    return bool(re.fullmatch(rf"[^.]*{HOLE}[^.]*\.[A-Za-z]\w{{0,9}}(?:\.\w{{1,4}})?", name))
