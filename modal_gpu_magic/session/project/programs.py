"""The references and imports of a script or module of the project, read from its source and cached until it changes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.cellsource import parse_python
from modal_gpu_magic.plan.cell.module_imports import imported
from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.plan.cell.references import Reference, of_commands, of_tree, references
from modal_gpu_magic.session.project.module_origin import files_of
from modal_gpu_magic.session.project.sent_files import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modal_gpu_magic.session.project.sent_files import Stamp

DATA_BYTES = 1_000_000
"""Maximum size of a package's file that is not Python source, bytes."""


@dataclass(frozen=True, slots=True)
class Program:
    """The references and imports of one file.

    Attributes:
        references: the files and folders that the file names.
        imports: top-level names of the modules that the file imports.
    """

    references: tuple[Reference, ...] = ()
    imports: frozenset[str] = frozenset()


_read: dict[tuple[str, str], tuple[Stamp, Program]] = {}
"""Cache of the last read of each file, by working directory and path."""


def program(path: str) -> Program | None:
    """Read a script; None: the file is not a script or cannot be read. `path` is relative to the working directory."""
    reader = _READERS.get(os.path.splitext(path)[1])  # noqa: PTH122
    stamp = stamp_of(path) if reader else None
    if reader is None or stamp is None:
        return None
    key = os.getcwd(), path  # noqa: PTH109
    known = _read.get(key)
    if known is None or known[0] != stamp:
        try:
            known = _read[key] = stamp, reader(path, Path(path).read_bytes())
        except (OSError, ValueError):
            return None
    return known[1]


def module_files(name: str, folder: str) -> Iterator[str]:
    """Yield the files of a module or package in a directory; nothing if the directory does not have it."""
    single, package = f"{folder}/{name}.py", f"{folder}/{name}"
    if os.path.isdir(package) and not os.path.exists(f"{package}/pyvenv.cfg"):  # noqa: PTH110, PTH112
        for _, local, facts in files_of(name, Path(package)):
            if local.endswith(".py") or facts.st_size <= DATA_BYTES:
                yield os.path.normpath(local)
    elif os.path.isfile(single):  # noqa: PTH113
        yield os.path.normpath(single)


def _python(path: str, content: bytes) -> Program:
    tree = parse_python(content.decode("utf-8", "replace"))
    named = of_tree(tree, {"__file__": path}) if tree is not None else ()
    return Program(tuple(each for each in named if each.text != path), imported(content))


def _shell(path: str, content: bytes) -> Program:  # noqa: ARG001 - the signature of a reader
    return Program(of_commands(content.decode("utf-8", "replace")))


def _notebook(path: str, content: bytes) -> Program:  # noqa: ARG001 - the signature of a reader
    cells = [cell for cell in json.loads(content).get("cells", ()) if cell.get("cell_type") == "code"]
    sources = ["".join(cell.get("source", "")) for cell in cells]
    named = dict.fromkeys(each for source in sources for each in references(source))
    return Program(tuple(named), frozenset().union(*(analyse(source).imports for source in sources)))


_READERS: dict[str, Callable[[str, bytes], Program]] = {
    ".py": _python,
    ".sh": _shell,
    ".ipynb": _notebook,
}
