"""Calls, magics and shell commands that read, list, test or create files, by the last words of their names."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.texts import last_word

if TYPE_CHECKING:
    from collections.abc import Iterable

READERS = re.compile(r"open|Path|read_\w+|load\w*|from_file|imread|Image|run_path")
"""Last words of calls whose first string is a path, even without slash and extension: `open("README")`."""

WRITERS = re.compile(r"to_\w+|save\w*|write\w*|dump\w*|imsave|imwrite|mkdir|makedirs|touch|logstart")
"""Last words of calls, and magics, whose strings name files that the call creates."""

LISTERS = frozenset({"listdir", "scandir", "walk", "fwalk", "copytree", "iterdir"})
GLOBS = frozenset({"glob", "iglob", "rglob"})
TESTS = frozenset({"exists", "lexists", "isfile", "isdir", "is_file", "is_dir", "getsize", "getmtime", "stat"})
COMMANDS = re.compile(r"system|run|Popen|popen|call|check_\w+|getoutput|getstatusoutput|split|create_subprocess_shell")
"""Last words of calls whose first string may be a shell command."""

FOLDER_WORDS = re.compile(r"(?:\w+_)?(?:root|dir|directory|folder|path)")
"""Keywords whose value is a directory or a file, even without slash and extension."""
CLASS = re.compile(r"[A-Z]\w*|\w*(?:folder|dir|directory|pretrained|dataset)\w*")
"""Last words of calls whose first string may be a directory: `ImageFolder("data")`."""

NO_FILES = frozenset(
    [
        "apt",
        "apt-get",
        "conda",
        "echo",
        "export",
        "git",
        "kill",
        "mkdir",
        "nvidia-smi",
        "pip",
        "pip3",
        "sleep",
        "uv",
        "which",
    ]
)
"""Shell commands whose words name no files."""
SHELL_LISTERS = frozenset({"ls", "ll", "find", "tree", "du"})
MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
FILLED = re.compile(r"\{([^{}]*)\}|\$\{?(\w+)\}?")


def is_path_edit(node: ast.expr) -> bool:
    """Whether a call's function is `sys.path.append`, `insert` or `extend`."""
    match node:
        case ast.Attribute(attr=attr, value=ast.Attribute(attr="path", value=ast.Name(id="sys"))):
            return attr in ("append", "insert", "extend")
    return False


def opens_to_write(node: ast.Call) -> bool:
    """Whether the mode of `open` creates a new file, so that the existing content is not needed."""
    first = 0 if isinstance(node.func, ast.Attribute) and last_word(node.func.value) not in OPENERS else 1
    modes = [*node.args[first : first + 1], *(each.value for each in node.keywords if each.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & {"w", "x"} for mode in modes)


OPENERS: Iterable[str] = frozenset({"io", "os", "gzip", "bz2", "lzma", "codecs", "builtins", "tarfile", "zipfile"})
"""Modules whose `open` takes the path first; of any other object, `open` is a method of a path."""
