"""Load a library's public module whose classes were already loaded from a private one: `numpy.rec` of `np.recarray`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any, Final

from modal_gpu_magic.wire.values.kinds import is_a

PACKAGE: Final = __name__.partition(".")[0]
_STDLIB = os.path.dirname(os.__file__)  # noqa: PTH120 - `sysconfig` reads a file of its own
_LIBRARIES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_absent: set[str] = set()
"""Names of modules that could not be loaded: each is looked for on disk once."""


def is_loaded(module: str) -> bool:
    """Whether a module is loaded, after an attempt to load a library's module that nobody has asked for yet.

    A module of the user is never run: it may do anything. Nor is a module that was loaded before and removed: its
    classes would be others.
    """
    if module in sys.modules:
        return True
    package, _, name = module.rpartition(".")
    if not package or module in _absent or not is_loaded(package):
        return False
    if name in getattr(sys.modules[package], "__dict__", {}):  # it was loaded
        return False
    try:
        spec = importlib.util.find_spec(module)
        if spec is not None and is_of_library(spec.origin or ""):
            importlib.import_module(module)
    except Exception:  # noqa: BLE001 - a module may raise anything while it runs
        _absent.add(module)
        return False
    if module not in sys.modules:
        _absent.add(module)
    return module in sys.modules


def is_of_library(origin: str) -> bool:
    """Whether a module's file belongs to the standard library or to an installed package."""
    return origin.startswith(_STDLIB) or any(folder in origin for folder in _LIBRARIES)


def is_own(module: Any) -> bool:
    """Whether a module is the user's own: it has a file outside of the standard library and of installed packages."""
    if not is_a(module, ModuleType):
        return False
    names = vars(module)
    file, package = names.get("__file__"), str(names.get("__name__", "")).partition(".")[0]
    return type(file) is str and package not in (PACKAGE, "__main__") and not is_of_library(file)
