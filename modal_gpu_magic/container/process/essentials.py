"""Keep the built-ins and modules that this package and the SDK need, whatever a cell replaces.

A cell's replacement is in effect while user code runs; in between, this package's code runs with the originals. Some
replacements return with the next statement, as in a kernel (`print`, `open`), or with the next cell: functions and
classes of modules (`json.dumps = None`, a frozen `time.time`). Others would end a kernel (`len = None`): these are put
back, and a note says so. The functions that run while built-ins are replaced use none by name.
"""

from __future__ import annotations

import builtins
import itertools
import operator
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

KEPT: Final = ("print", "open", "__import__", "help", "breakpoint", "exit", "quit", "abs", "pow", "round", "sum")
"""Built-ins whose replacements stay in effect for user code."""

_BY_OTHERS: Final = frozenset({"_", "input", "display", "get_ipython"})
"""Names in `builtins` that IPython binds, some of them anew for each cell."""

LIBRARIES: Final = frozenset(
    {
        *("os", "posixpath", "genericpath", "stat", "io", "re", "time", "signal", "contextlib", "copy", "shutil"),
        *("threading", "_thread", "asyncio", "concurrent", "contextvars", "collections", "functools", "importlib"),
        *("pickle", "copyreg", "queue", "select", "selectors", "socket", "ssl", "struct", "traceback", "types"),
        *("typing", "weakref", "warnings", "logging", "linecache", "ast", "subprocess", "tempfile", "pathlib"),
        *("inspect", "itertools", "operator", "dataclasses", "enum", "abc", "gc", "math", "random", "uuid", "datetime"),
        *("json", "zlib", "hashlib", "base64", "platform", "resource", "fcntl", "mmap", "cloudpickle", "xxhash"),
    }
)
"""Top-level names of the modules whose functions and classes are the originals between cells."""

PACKAGES: Final = LIBRARIES | {
    *("builtins", "sys", "codecs", "encodings", "IPython", "traitlets", "modal_gpu_magic"),
    *("modal", "modal_proto", "modal_version", "grpclib", "h2", "hpack", "hyperframe", "google", "synchronicity"),
}
"""Top-level names of the modules that are put back."""

_table: Final = vars(builtins)
_essential: Final = {name: value for name, value in _table.items() if name not in {*KEPT, *_BY_OTHERS}}
_names: Final = operator.itemgetter(*_essential)
_values: Final = tuple(_essential.values())
_originals: Final = {name: _table[name] for name in KEPT if name in _table}
_all, _map, _is, _dict, _update, _copy = all, map, operator.is_, dict, dict.update, dict.copy
_modules_object: Final = sys.modules
_environ: Final = os.environ
_modules: Final[dict[str, Any]] = {}
_looked_at: Final[set[str]] = set()
"""Names of `sys.modules` that `remember_modules` has looked at: hundreds, and few are new in a cell."""
_users: Final[dict[str, Any]] = {}
"""The user's replacements of built-ins in KEPT."""
_running: Final[list[None]] = []
"""One item for each call of user code by IPython that has not returned: a cell may run a cell."""
_put_back: Final[list[str]] = []
_functions: Final[dict[str, _Functions]] = {}
"""The functions and classes of the modules of LIBRARIES, by the module's name."""
_replaced: Final[list[tuple[dict[str, Any], str, Any]]] = []
"""The user's replacements in these modules, between cells: a module's names, the name, and the value or _REMOVED."""
_REMOVED: Final = object()
_hooks: Final[dict[Callable[[Any], None], Any]] = {}
"""By the function that sets such a hook: the hook of the user's that runs in each new thread, between cells."""


@dataclass(frozen=True, slots=True)
class _Functions:
    """The functions and classes of one module.

    Attributes:
        table: the module's names.
        originals: the functions and classes, by name.
        found: returns what the names are bound to now, in their order.
        values: the originals, in that order.
    """

    table: dict[str, Any]
    originals: Mapping[str, Any]
    found: Callable[[dict[str, Any]], tuple[Any, ...]]
    values: tuple[Any, ...]


def is_sound() -> bool:
    """Whether all essential built-ins are the originals. Background threads wait while they are not."""
    try:
        return _all(_map(_is, _names(_table), _values))
    except:  # noqa: E722 - a name was deleted, and `KeyError` may be replaced
        return False


def remember_modules() -> None:
    """Remember the modules that are put back: those of PACKAGES that are loaded now. Call this before user code."""
    names: set[Any] = sys.modules.keys() - _looked_at
    new = {name for name in names if isinstance(name, str)}
    _looked_at.update(new)
    _modules.update((name, sys.modules[name]) for name in new if name.partition(".")[0] in PACKAGES)
    for name in new:
        if name.partition(".")[0] in LIBRARIES and isinstance(module := sys.modules[name], ModuleType):
            _remember_functions(name, vars(module))


def _remember_functions(name: str, table: dict[str, Any]) -> None:
    kept = {each: value for each, value in table.items() if callable(value) or isinstance(value, ModuleType)}
    if len(kept) > 1:  # `itemgetter` of one name returns no tuple
        _functions[name] = _Functions(table, kept, operator.itemgetter(*kept), tuple(kept.values()))


def cell_begins() -> None:
    """A cell is about to run: the user's replacements of functions and classes of modules take effect."""
    for table, name, value in _replaced:
        if value is _REMOVED:
            table.pop(name, None)
        else:
            table[name] = value
    _replaced.clear()
    for set_hook, hook in _hooks.items():
        set_hook(hook)
    _hooks.clear()


def is_guarded(module: str) -> bool:
    """Whether this package's code uses a module between cells, so that cells' replacements are not in effect then."""
    return module.partition(".")[0] in LIBRARIES


def replace(holder: Any, name: str, value: Any) -> None:
    """Replace an attribute of such a module, or of a class in it, as a cell would: it is in effect in cells."""
    functions = _functions.get(getattr(holder, "__name__", ""))
    if functions is None or functions.table is not vars(holder) or name not in functions.originals:
        setattr(holder, name, value)
        return
    _replaced[:] = [each for each in _replaced if each[0] is not functions.table or each[1] != name]
    _replaced.append((functions.table, name, value))


def user_begins() -> None:
    """User code is about to run: its replacements take effect."""
    _running.append(None)
    if _users:
        _table.update(_users)


def user_ends() -> None:
    """User code has returned: the originals take effect, unless other user code has called it."""
    if not is_sound():
        found = _copy(_table)
        _update(_table, _essential)
        _put_back.extend(name for name, value in _essential.items() if found.get(name, _put_back) is not value)
    del _running[-1:]
    if not _running:
        for name, original in _originals.items():
            value = _table.get(name, original)
            if value is not original:
                _users[name] = value
            else:
                _users.pop(name, None)
            _table[name] = original


def cell_ends() -> list[str]:
    """A cell has ended. Return the names of the built-ins and modules that were put back."""
    if _running or not is_sound():
        del _running[1:]
        user_ends()
    _restore_modules()
    _restore_functions()
    names, _put_back[:] = list(dict.fromkeys(_put_back)), []
    return names


def _restore_modules() -> None:
    if not isinstance(os.environ, Mapping):
        vars(os)["environ"] = _environ
        _put_back.append("os.environ")
    if sys.modules is not _modules_object:
        if isinstance(sys.modules, Mapping):
            _modules_object.update(sys.modules)
        sys.modules = _modules_object
    loaded = sys.modules.get
    if any(
        map(operator.is_, map(loaded, _modules), itertools.repeat(None))
    ):  # without a line of Python for each module
        missing = {name: module for name, module in _modules.items() if loaded(name) is None}
        sys.modules.update(missing)
        _put_back.append(f"{'modules' if len(missing) > 1 else next(iter(missing))}")


def _restore_functions() -> None:
    for each in _functions.values():
        try:
            if all(map(operator.is_, each.found(each.table), each.values)):  # no line of Python for each name
                continue
        except KeyError:  # a name was deleted
            pass
        for name, original in each.originals.items():
            value = each.table.get(name, _REMOVED)
            if value is not original:
                _replaced.append((each.table, name, value))
                each.table[name] = original
    for set_hook, hook in ((threading.settrace, threading.gettrace()), (threading.setprofile, threading.getprofile())):
        if hook is not None:  # a thread of this package would run it
            _hooks[set_hook] = hook
            set_hook(None)
