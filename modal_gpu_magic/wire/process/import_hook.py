"""Calls a function after a module was imported, before the importing code continues."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def is_loaded(module: str) -> bool:
    """Whether a module is completely imported. Does not import the module."""
    found = sys.modules.get(module)
    try:
        spec = getattr(found, "__spec__", None)
    except BaseException as error:  # noqa: BLE001 - of what a cell has put in place of the module
        pass_on(error)
        return False
    return found is not None and not getattr(spec, "_initializing", False)


class ImportWatch(MetaPathFinder):
    """A finder that delegates to the other finders and calls a callback after a watched module has run.

    `watch` puts the finder first on `sys.meta_path`; the last callback removes it.
    """

    def __init__(self) -> None:
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._searched: set[str] = set()

    def watch(self, module: str, callback: Callable[[], None]) -> None:
        """Call `callback` once after `module` was imported; replaces an earlier callback of the module."""
        self._callbacks[module] = callback
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the interface of a finder
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return the other finders' spec of a watched module; None for every other module."""
        if fullname not in self._callbacks or fullname in self._searched:
            return None
        self._searched.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searched.discard(fullname)
        if spec is not None and spec.loader is not None:
            self._call_after(fullname, spec.loader)
        return spec

    def _call_after(self, module: str, loader: object) -> None:
        """Wrap `exec_module` on this one loader object. The loader's type stays, because some packages check it."""
        run = loader.exec_module  # type: ignore[attr-defined]  # every loader of Python 3.10 on has the method

        def run_and_call(loaded: ModuleType) -> None:
            with suppress(AttributeError):
                del loader.exec_module  # type: ignore[attr-defined]
            run(loaded)
            callback = self._callbacks.pop(module, None)
            if not self._callbacks and self in sys.meta_path:
                sys.meta_path.remove(self)
            if callback is not None:
                callback()

        with suppress(AttributeError):  # a loader with slots: the state is set before the next cell
            loader.exec_module = run_and_call  # type: ignore[attr-defined]
