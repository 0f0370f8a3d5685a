"""Find the origin of a module: the user's own directories, the standard library or an installed package.

The user's own directories are the entries of `sys.path` outside the standard library and the directories of installed
packages: the notebook's folder, entries of PYTHONPATH, editable installs (no image has their files).
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
"""Modules that every container has, or that are different modules in a container."""

_STDLIB = tuple({Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib")})
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})
"""Names of directories that are not part of a package. Hidden directories are also skipped."""


def own_locations(module: str) -> tuple[Path, ...] | None:
    """Return the user's own files or directories of a top-level module. Imports nothing.

    A namespace package may have several directories. Empty: the module is installed or in the standard library.
    None: the kernel has no such module.
    """
    if module in sys.stdlib_module_names or module in IN_EVERY_CONTAINER:
        return ()
    places = _locations(module)
    return places if places is None else tuple(place for place in places if not _is_installed(place))


def installed_locations(module: str) -> tuple[Path, ...]:
    """Return all files or directories of a top-level module, wherever they are."""
    return _locations(module) or ()


def _locations(module: str) -> tuple[Path, ...] | None:
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if spec is None:
        with suppress(ImportError, ValueError, AttributeError):  # third-party finders raise these for unusual names
            spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        places = [Path(place) for place in spec.submodule_search_locations]
    else:
        places = [Path(spec.origin)] if spec.origin else []
    return tuple(place for place in places if place.exists())


def files_of(module: str, place: Path) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield path below the entry of `sys.path`, local path and stat result of each file of a module at `place`."""
    if place.is_file():
        yield place.name, str(place), place.stat()
        return
    waiting = [(module, str(place))]
    while waiting:
        above, folder = waiting.pop()
        for entry in _entries(folder):
            path = f"{above}/{entry.name}"
            with suppress(OSError):  # a broken link
                if entry.is_dir(follow_symlinks=False):
                    waiting += [(path, entry.path)] if entry.name not in _LEFT_OUT else []
                elif entry.is_file() and not entry.name.endswith(".pyc"):
                    yield path, entry.path, entry.stat()


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if each.name[0] != "."), key=lambda each: each.name)
    except OSError:  # the folder was removed
        return []


def _is_installed(place: Path) -> bool:
    root = place.resolve().parent
    return is_site(str(root)) or any(root.is_relative_to(each) for each in _STDLIB)


@functools.lru_cache(maxsize=256)
def is_site(directory: str) -> bool:
    """Whether a directory holds installed packages, by its name or by pip's metadata."""
    if any(part.endswith("-packages") for part in Path(directory).parts):
        return True
    try:
        with os.scandir(directory) as entries:
            return any(entry.name.endswith(".dist-info") for entry in entries)
    except OSError:
        return False
