"""The notebook's own modules in the container: their files, on `sys.path`, and edits taken in as `%autoreload 2` does.

Child processes find them, too: the directory is on PYTHONPATH from the first file on.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modal_gpu_magic.wire.events import Modules

BELOW = Path(".modal_gpu", "modules")
"""Where they are, below the container's working directory."""
FRAMES = 10
"""Of the traceback of a module that cannot be reloaded; as autoreload."""


class LocalModules:
    """The notebook's own modules as this container has them."""

    def __init__(self, root: Path) -> None:
        self.directory = root / BELOW
        self._old: dict[Any, Any] = {}
        """autoreload's own memory: the functions and classes of each version that somebody still has."""

    def take(self, modules: Modules, namespace: dict[str, Any]) -> None:
        """Take in what is new, was changed or was removed. A module that does not load any more is said, on stderr."""
        if not self.directory.exists():
            self.directory.mkdir(parents=True)
            sys.path.insert(0, str(self.directory))
            before = os.environ.get("PYTHONPATH", "")
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self.directory), before)))
        self._remove(set(modules.paths))
        changed = {str(path) for path, content in self._targets(modules) if _write(path, content)}
        importlib.invalidate_caches()
        for module in [each for each in sys.modules.values() if _file(each) in changed]:
            self._reload(module, namespace)

    def _targets(self, modules: Modules) -> list[tuple[Path, bytes]]:
        return [(self.directory / path, content) for path, content in modules.contents.items()]

    def _remove(self, stay: set[str]) -> None:
        for path in [
            path for path in self.directory.rglob("*") if path.is_file() and path.parent.name != "__pycache__"
        ]:
            if path.relative_to(self.directory).as_posix() not in stay:
                path.unlink()
                _forget_compiled(path)
        for folder in sorted((each for each in self.directory.rglob("*") if each.is_dir()), reverse=True):
            with suppress(OSError):  # not empty
                folder.rmdir()

    def _reload(self, module: ModuleType, namespace: dict[str, Any]) -> None:
        from IPython.extensions.autoreload import superreload

        before = _own(module)
        try:
            superreload(module, importlib.reload, self._old)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's module raises anything; the old one goes on
            trace = error.__traceback__.tb_next if error.__traceback__ else None
            failed = "".join(traceback.format_exception(type(error), error, trace, FRAMES))
            sys.stderr.write(f"[autoreload of {module.__name__} failed: {failed}]\n")
        _restore_submodules(module)
        after = vars(module)
        newer = {id(old): after[name] for name, old in before.items() if after.get(name, old) is not old}
        for names in (namespace, *(vars(each) for each in sys.modules.values() if self._is_ours(each))):
            names.update({name: newer[id(value)] for name, value in names.items() if id(value) in newer})

    def _is_ours(self, module: ModuleType) -> bool:
        return str(_file(module)).startswith(f"{self.directory}{os.sep}")


def _write(path: Path, content: bytes) -> bool:
    """Write a file unless it is there already. True: it was there, with another content."""
    before = path.read_bytes() if path.is_file() else None
    if before == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(content)
    half.replace(path)  # a child process may be importing it right now
    _forget_compiled(path)
    return before is not None


def _forget_compiled(path: Path) -> None:
    """Python takes a compiled file for the source's if size and second are the same: an edit may be that quick."""
    if path.suffix == ".py":
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _file(module: Any) -> Any:
    return vars(module).get("__file__") if isinstance(module, ModuleType) else None


def _own(module: ModuleType) -> dict[str, Any]:
    """The functions and classes that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType | type) and value.__module__ == module.__name__
    }


def _restore_submodules(package: ModuleType) -> None:
    """A reloaded package lacks the submodules that others have imported into it."""
    for name, module in list(sys.modules.items()):
        above, _, last = name.rpartition(".")
        if above == package.__name__ and isinstance(module, ModuleType):
            vars(package).setdefault(last, module)
