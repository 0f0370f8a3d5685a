"""Call functions after a module was imported, before the importing code continues."""

from __future__ import annotations

import importlib.util
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from modal_gpu_magic.wire.values.library_modules import PACKAGE, is_of_library
from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


_BOOTSTRAP: Final = "<frozen importlib._bootstrap>"
"""The file name of the frames that Python removes from the traceback of an import (`remove_importlib_frames`)."""

_Function = TypeVar("_Function", bound=Any)


def is_loaded(module: str) -> bool:
    """Whether a module is completely imported. Does not import the module."""
    found = sys.modules.get(module)
    try:
        spec = getattr(found, "__spec__", None)
    except BaseException as error:  # noqa: BLE001 - of what a cell has put in place of the module
        pass_on(error)
        return False
    return found is not None and not getattr(spec, "_initializing", False)


def as_import_machinery(function: _Function) -> _Function:
    """Let a function's frames count as those of the import machinery, which no traceback of an import shows."""
    function.__code__ = function.__code__.replace(co_filename=_BOOTSTRAP)
    return function


class ImportWatch:
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
        @as_import_machinery
        def run_and_call(run: Callable[[ModuleType], None], loaded: ModuleType) -> None:
            run(loaded)
            callback = self._callbacks.pop(module, None)
            if not self._callbacks and self in sys.meta_path:
                sys.meta_path.remove(self)
            if callback is not None:
                callback()

        _wrap(loader, run_and_call)


class ImportListener(Protocol):
    """What hears of the runs of the user's modules."""

    def import_begins(self) -> None:
        """The first module of an import statement is about to run."""

    def module_ran(self, module: ModuleType) -> None:
        """A module has run; the importing code has not continued."""

    def import_ends(self, names: list[str]) -> None:
        """The import statement has ended; `names`: the modules that have run."""


class OwnImports:
    """A finder that delegates to the other finders and reports each run of a module of the user.

    Args:
        listener: returns what hears of the runs; called when the first module of the user is about to run.
    """

    def __init__(self, listener: Callable[[], ImportListener]) -> None:
        self._listener = listener
        self._of_thread = threading.local()

    def install(self) -> None:
        """Put the finder first on `sys.meta_path`."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the other finders' spec of a module of the user; None for every other module."""
        is_in_library = path is not None and all(type(each) is str and is_of_library(each) for each in path)
        if is_in_library or fullname.partition(".")[0] == PACKAGE:
            return None
        others = (each for each in list(sys.meta_path) if each is not self and hasattr(each, "find_spec"))
        spec = next(filter(None, (each.find_spec(fullname, path, target) for each in others)), None)
        if spec is not None and spec.loader is not None and spec.has_location and not is_of_library(str(spec.origin)):
            _wrap(spec.loader, self._run)
        return spec

    @as_import_machinery
    def _run(self, run: Callable[[ModuleType], None], module: ModuleType) -> None:
        of_thread = self._of_thread
        names: list[str] | None = getattr(of_thread, "names", None)
        if names is not None:
            names.append(module.__name__)
            run(module)
            _tell(lambda: self._listener().module_ran(module))
            return
        of_thread.names = names = [module.__name__]
        _tell(lambda: self._listener().import_begins())
        try:
            run(module)
            _tell(lambda: self._listener().module_ran(module))
        finally:
            del of_thread.names
            _tell(lambda: self._listener().import_ends(names))


def _tell(listen: Callable[[], None]) -> None:
    """Call a listener. An import of the user does not fail with it: values of any kind are looked at."""
    try:
        listen()
    except BaseException as error:  # noqa: BLE001 - code of the user's classes may raise anything
        pass_on(error)


def _wrap(loader: object, around: Callable[[Callable[[ModuleType], None], ModuleType], None]) -> None:
    """Wrap `exec_module` on this one loader object. The loader's type stays, because some packages check it.

    A loader with slots stays as it is.
    """
    run = loader.exec_module  # type: ignore[attr-defined]  # every loader of Python 3.10 on has the method

    @as_import_machinery
    def run_once(module: ModuleType) -> None:
        with suppress(AttributeError):
            del loader.exec_module  # type: ignore[attr-defined]
        around(run, module)

    with suppress(AttributeError):
        loader.exec_module = run_once  # type: ignore[attr-defined]
