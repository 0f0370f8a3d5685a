"""Keep the built-ins and modules that this package and the SDK need, whatever a cell replaces.

A cell's replacement is in effect while user code runs; in between, this package's code runs with the originals. Some
replacements return with the next statement, as in a kernel (`print`, `open`). Others would end a kernel (`len = None`):
these are put back, and a note says so. The functions that run while built-ins are replaced use none by name.
"""

from __future__ import annotations

import builtins
import itertools
import operator
import sys
from typing import Any, Final

KEPT: Final = ("print", "open", "__import__", "help", "breakpoint", "exit", "quit", "abs", "pow", "round", "sum")
"""Built-ins whose replacements stay in effect for user code."""

_BY_OTHERS: Final = frozenset({"_", "input", "display", "get_ipython"})
"""Names in `builtins` that IPython binds, some of them anew for each cell."""

PACKAGES: Final = frozenset(
    {
        *("builtins", "sys", "os", "posixpath", "io", "codecs", "encodings", "re", "time", "signal", "contextlib"),
        *("threading", "asyncio", "concurrent", "contextvars", "collections", "functools", "importlib", "inspect"),
        *("pickle", "copyreg", "queue", "select", "selectors", "socket", "ssl", "struct", "traceback", "types"),
        *("typing", "weakref", "warnings", "logging", "linecache", "ast", "subprocess", "tempfile", "pathlib"),
        *("IPython", "traitlets", "cloudpickle", "xxhash", "modal_gpu_magic"),
        *("modal", "modal_proto", "modal_version", "grpclib", "h2", "hpack", "hyperframe", "google", "synchronicity"),
    }
)
"""Top-level names of the modules that are put back."""

_table: Final = vars(builtins)
_essential: Final = {name: value for name, value in _table.items() if name not in {*KEPT, *_BY_OTHERS}}
_names: Final = operator.itemgetter(*_essential)
_values: Final = tuple(_essential.values())
_originals: Final = {name: _table[name] for name in KEPT if name in _table}
_all, _map, _is, _dict, _update, _copy = all, map, operator.is_, dict, dict.update, dict.copy
_modules_object: Final = sys.modules
_modules: Final[dict[str, Any]] = {}
_looked_at: Final[set[str]] = set()
"""Names of `sys.modules` that `remember_modules` has looked at: hundreds, and few are new in a cell."""
_users: Final[dict[str, Any]] = {}
"""The user's replacements of built-ins in KEPT."""
_running: Final[list[None]] = []
"""One item for each call of user code by IPython that has not returned: a cell may run a cell."""
_put_back: Final[list[str]] = []


def is_sound() -> bool:
    """Whether all essential built-ins are the originals. Background threads wait while they are not."""
    try:
        return _all(_map(_is, _names(_table), _values))
    except:  # noqa: E722 - a name was deleted, and `KeyError` may be replaced
        return False


def remember_modules() -> None:
    """Remember the modules that are put back: those of PACKAGES that are loaded now. Call this before user code."""
    new = sys.modules.keys() - _looked_at
    _looked_at.update(new)
    _modules.update((name, sys.modules[name]) for name in new if name.partition(".")[0] in PACKAGES)


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
    names, _put_back[:] = list(dict.fromkeys(_put_back)), []
    return names


def _restore_modules() -> None:
    if sys.modules is not _modules_object:
        _modules_object.update(sys.modules)
        sys.modules = _modules_object
    loaded = sys.modules.get
    if any(
        map(operator.is_, map(loaded, _modules), itertools.repeat(None))
    ):  # without a line of Python for each module
        missing = {name: module for name, module in _modules.items() if loaded(name) is None}
        sys.modules.update(missing)
        _put_back.append(f"{'modules' if len(missing) > 1 else next(iter(missing))}")
