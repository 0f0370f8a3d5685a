"""Where a module of this kernel comes from: the user's own directories, or an environment that an image has, too.

The user's own are those of `sys.path` that are neither the standard library nor a directory of installed packages: the
notebook's folder, one of PYTHONPATH, a project that is installed as editable (its files are not in any image).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_EVERY_CONTAINER = frozenset({"modal", "modal_gpu_magic", "__main__", "__mp_main__"})
"""Modules that a container has anyway, or that mean something else there."""

_STDLIB = tuple({Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib")})
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})
"""Directories inside a package that are no part of it; hidden ones are not either."""


def homes(module: str) -> tuple[Path, ...] | None:
    """The user's own files or directories that are a top-level module. Empty: it is installed, or standard.

    Nothing is imported. A namespace package may have several directories. None: there is no such module here.
    """
    if module in sys.stdlib_module_names or module in IN_EVERY_CONTAINER:
        return ()
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if spec is None:
        with suppress(ImportError, ValueError, AttributeError):  # what finders of others raise for odd names
            spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        places = [Path(place) for place in spec.submodule_search_locations]
    else:
        places = [Path(spec.origin)] if spec.origin else []
    return tuple(place for place in places if place.exists() and not _is_installed(place))


def files_of(module: str, place: Path) -> Iterator[tuple[str, str, os.stat_result]]:
    """The files of a module at one of its homes: the path below a directory of `sys.path`, where it is, its facts."""
    if place.is_file():
        yield place.name, str(place), place.stat()
        return
    waiting = [(module, str(place))]
    while waiting:
        above, folder = waiting.pop()
        for entry in _entries(folder):
            path = f"{above}/{entry.name}"
            with suppress(OSError):  # a link that leads nowhere
                if entry.is_dir(follow_symlinks=False):
                    waiting += [(path, entry.path)] if entry.name not in _LEFT_OUT else []
                elif entry.is_file() and not entry.name.endswith(".pyc"):
                    yield path, entry.path, entry.stat()


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, less what is hidden, in the order of the names."""
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if each.name[0] != "."), key=lambda each: each.name)
    except OSError:  # removed meanwhile
        return []


def _is_installed(place: Path) -> bool:
    root = place.resolve().parent
    return is_site(str(root)) or any(root.is_relative_to(each) for each in _STDLIB)


@functools.lru_cache(maxsize=256)
def is_site(directory: str) -> bool:
    """Whether packages are installed in a directory: by its name, or by the metadata that pip writes there."""
    if any(part.endswith("-packages") for part in Path(directory).parts):
        return True
    try:
        with os.scandir(directory) as entries:
            return any(entry.name.endswith(".dist-info") for entry in entries)
    except OSError:
        return False
