"""The notebook's own modules in the container: files on `sys.path`, reloaded after edits as `%autoreload 2` does.

Child processes find the modules as well: from the first file on, PYTHONPATH contains the directory.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from contextlib import suppress
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.state.workdir import forget_compiled
from modal_gpu_magic.wire.messages.events import SentFile

if TYPE_CHECKING:
    from pathlib import Path

    from modal_gpu_magic.container.state.workdir import Workdir
    from modal_gpu_magic.wire.messages.events import Modules

TRACEBACK_FRAMES = 10
"""Frames shown of the traceback when a module cannot be reloaded; autoreload shows as many."""


class LocalModules:
    """The notebook's own modules in this container."""

    def __init__(self, workdir: Workdir) -> None:
        self.workdir = workdir
        self.directory = workdir.modules
        self._paths: frozenset[str] = frozenset()
        self._old: dict[Any, Any] = {}
        """autoreload's record of the old functions and classes that are still in use."""

    def take(self, modules: Modules, namespace: dict[str, Any]) -> None:
        """Write new and changed files, remove old ones and reload modules. A failed reload is reported on stderr."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._add_entries([*(str(self.workdir.tree / entry) for entry in modules.entries), str(self.directory)])
        for path in self._paths - set(modules.paths):
            self._remove(path)
        self._paths = frozenset(modules.paths)
        changed = {str(self._target(path)) for path, content in modules.contents.items() if self._write(path, content)}
        importlib.invalidate_caches()
        for module in [each for each in sys.modules.values() if _file(each) in changed]:
            self._reload(module, namespace)

    @staticmethod
    def _add_entries(entries: list[str]) -> None:
        """Add directories to the import path of this process and its child processes."""
        new = [entry for entry in entries if entry not in sys.path]
        sys.path[:0] = new
        before = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (*new, before)))

    def _target(self, path: str) -> Path:
        return self.workdir.tree / path[1:] if path.startswith("/") else self.directory / path

    def _write(self, path: str, content: bytes) -> bool:
        """Write a file; return True if this changed an existing file."""
        target = self._target(path)
        existed = target.exists()
        if path.startswith("/"):
            return self.workdir.write(path[1:], SentFile(content)) and existed
        return _write(target, content)

    def _remove(self, path: str) -> None:
        target = self._target(path)
        if path.startswith("/"):
            self.workdir.remove(path[1:])
        else:
            target.unlink(missing_ok=True)
            forget_compiled(target)
        with suppress(OSError):  # the directory is not empty
            target.parent.rmdir()

    def _reload(self, module: ModuleType, namespace: dict[str, Any]) -> None:
        from IPython.extensions.autoreload import superreload

        before = _own(module)
        try:
            superreload(module, importlib.reload, self._old)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything; keep the old one
            trace = error.__traceback__.tb_next if error.__traceback__ else None
            failed = "".join(traceback.format_exception(type(error), error, trace, TRACEBACK_FRAMES))
            sys.stderr.write(f"[autoreload of {module.__name__} failed: {failed}]\n")
        _restore_submodules(module)
        after = vars(module)
        newer = {id(old): after[name] for name, old in before.items() if after.get(name, old) is not old}
        for names in (namespace, *(vars(each) for each in sys.modules.values() if self._is_ours(each))):
            names.update({name: newer[id(value)] for name, value in names.items() if id(value) in newer})

    def _is_ours(self, module: ModuleType) -> bool:
        return str(_file(module)).startswith((f"{self.directory}{os.sep}", f"{self.workdir.tree}{os.sep}"))


def _write(path: Path, content: bytes) -> bool:
    """Write a file unless it has this content; return True if this changed an existing file."""
    before = path.read_bytes() if path.is_file() else None
    if before == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(content)
    half.replace(path)  # atomic: a child process may import the file at this moment
    forget_compiled(path)
    return before is not None


def _file(module: Any) -> Any:
    return vars(module).get("__file__") if isinstance(module, ModuleType) else None


def _own(module: ModuleType) -> dict[str, Any]:
    """Return the functions and classes that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType | type) and value.__module__ == module.__name__
    }


def _restore_submodules(package: ModuleType) -> None:
    """Restore the submodules that a reloaded package lacks: other modules had imported them into the package."""
    for name, module in list(sys.modules.items()):
        above, _, last = name.rpartition(".")
        if above == package.__name__ and isinstance(module, ModuleType):
            vars(package).setdefault(last, module)
