"""The states of the interpreter: environment, import path, warnings, numbers, locale, recursion limit."""

from __future__ import annotations

import decimal
import gc
import locale
import os
import re
import socket
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from modal_gpu_magic.wire.process.import_hook import ImportWatch
from modal_gpu_magic.wire.process.loggers import LOGGING
from modal_gpu_magic.wire.process.process_state import State, settings
from modal_gpu_magic.wire.values.silent_warnings import HIDING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from modal_gpu_magic.wire.process.process_state import Items

# Environment variables.

ENVIRONMENT: Final = "environment"

OF_THE_PLACE: Final = {
    "CUDA_VISIBLE_DEVICES": "the numbers of GPUs differ between kernel and container",
    "HIP_VISIBLE_DEVICES": "the numbers of GPUs differ between kernel and container",
    "PATH": "the programs of a container are in other folders",
    "PYTHONPATH": "sys.path and imported modules are sent instead",
    "LD_LIBRARY_PATH": "the libraries of a container are in other folders",
    "LD_PRELOAD": "the libraries of a container are in other folders",
    "VIRTUAL_ENV": "the packages of a container are in other folders",
    "HOME": "a container has another user folder",
    "TMPDIR": "a container has another folder for temporary files",
}
"""Variables that hold for one machine only and are not sent, each with the reason."""

_OF_THE_SHELL = (
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "FORCE_COLOR",
    "GIT_PAGER",
    "LINES",
    "MPLBACKEND",
    "OLDPWD",
    "PAGER",
    "PWD",
    "PYDEVD_USE_FRAME_EVAL",
    "SHLVL",
    "TERM",
    "_",
)
"""Variables that ipykernel sets in every kernel and this package sets in every container."""

_OF_OTHERS = ("JPY_", "JUPYTER_", "MODAL_", "TORCHELASTIC_")
_OF_RANKS = (
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "RANK",
    "ROLE_NAME",
    "ROLE_RANK",
    "ROLE_WORLD_SIZE",
    "WORLD_SIZE",
)
"""Variables that torchrun sets in each rank."""


def variables_at_start() -> dict[str, str]:
    """Return the environment at the start of this process; the present one if the system does not record it."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:  # not Linux
        return dict(os.environ)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if b"=" in entry)
    found = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    return found or dict(os.environ)  # setproctitle overwrites the block


HASH_SEED: Final = "PYTHONHASHSEED"
"""The variable that fixes the hashes of text, and by them the order of sets. Python reads it once, at its start."""


def hash_seed() -> dict[str, str]:
    """Return the variable if this process was started with a number in it: another process hashes alike with it."""
    value = variables_at_start().get(HASH_SEED, "")
    return {HASH_SEED: value} if value.isdecimal() else {}


def follows(name: str) -> bool:
    """Whether a variable has the same meaning on both sides, so that its changes are sent."""
    return not (
        name in OF_THE_PLACE or name in _OF_THE_SHELL or name in _OF_RANKS or name.startswith(_OF_OTHERS) or not name
    )


def of_the_place(at_start: Mapping[str, str]) -> tuple[str, ...]:
    """Return the changed variables that choose GPUs: they are not sent, so a cell may run on other GPUs."""
    return tuple(name for name in OF_THE_PLACE if "DEVICES" in name and os.environ.get(name) != at_start.get(name))


class Environment:
    """The environment variables that differ from the start of the process. None: a deleted variable."""

    def __init__(self, at_start: Mapping[str, str]) -> None:
        self._at_start = at_start
        self._seen: Any = None
        self._differ: Items = {}

    @property
    def state(self) -> State:
        """The state for the table."""
        return State(ENVIRONMENT, self._read, _set_variable, ours=True)

    def _read(self, asked: Collection[str]) -> Items:
        # `os.environ._data` is private (Python 3.3 to 3.14). Comparing it takes 1 µs; decoding all variables, which is
        # the fallback without it, takes 100 µs.
        data = getattr(os.environ, "_data", None)
        if data is None or data != self._seen:
            self._seen, now = dict(data or {}), dict(os.environ)
            names = {name for name, value in now.items() if self._at_start.get(name) != value}
            names |= self._at_start.keys() - now.keys()
            self._differ = {name: now.get(name) for name in names if follows(name)}
        rest = [name for name in asked if name not in self._differ]
        return {**self._differ, **{name: os.environ.get(name) for name in rest}}


def _set_variable(name: str, value: Any) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
    if name == "TZ":
        time.tzset()


# The import path.

IMPORT_PATH: Final = "sys.path"
BELOW: Final = "\0"
"""Prefix of an entry below the session's working directory, which differs between the two sides."""


class ImportPath:
    """The entries added to `sys.path` before and after the initial entries.

    Args:
        root: the initial working directory of the notebook, or of its cells in the container.
        first: the initial `sys.path`.
    """

    def __init__(self, root: Path, first: Iterable[str]) -> None:
        self._root = root
        self._first = {entry for entry in first if not entry or Path(entry).is_absolute()}

    @property
    def state(self) -> State:
        """The state for the table. The one item is a pair: entries in front, entries at the end."""
        return State(IMPORT_PATH, self._read, self._write, ours=True)

    def begin_in(self, root: Path) -> None:
        """Set the working directory of the cells, if it is not that of the process."""
        self._root = root

    def settle(self, known: Collection[str]) -> None:
        """Treat entries that are not in `known` as initial: folders of modules, entries of the image."""
        found: object = sys.path
        entries = found if isinstance(found, list) else ()
        self._first.update(entry for entry in map(str, entries) if self._name(entry) not in known)

    def _read(self, asked: Collection[str]) -> Items:
        front, back = self._added()
        return {"": (tuple(map(self._name, front)), tuple(map(self._name, back)))} if front or back or asked else {}

    def _write(self, _: str, value: Any) -> None:
        front, back = value
        own = {*self._added()[0], *self._added()[1]}
        middle = [entry for entry in sys.path if entry not in own]
        sys.path[:] = [*map(self._place, front), *middle, *map(self._place, back)]

    def _added(self) -> tuple[list[str], list[str]]:
        entries = list(map(str, sys.path))
        firsts = [number for number, entry in enumerate(entries) if entry in self._first]
        start, end = (firsts[0], firsts[-1]) if firsts else (len(entries), len(entries))
        front, inside, back = entries[:start], entries[start:end], entries[end + 1 :]
        return [*front, *(entry for entry in inside if entry not in self._first)], back

    def _name(self, entry: str) -> str:
        if not entry.startswith(str(self._root)):  # `Path` is slow, and most entries are elsewhere
            return entry
        path = Path(entry)
        if path.is_absolute() and path.is_relative_to(self._root):
            return BELOW + path.relative_to(self._root).as_posix()
        return entry

    def _place(self, name: str) -> str:
        return str(self._root / name[1:]) if name.startswith(BELOW) else name


# Warnings.

OWN_FILTERS: Final = ("To exit: use 'exit', 'quit', or Ctrl-D", "IProgress not found")
"""Messages of warnings that are not wanted in a container: the first is IPython's, the second advises on widgets."""

_WARNINGS = "warnings"


def _filters() -> Iterator[tuple[Any, ...]]:
    for action, message, category, module, line in warnings.filters:
        if not _is_own(message, module):
            kind: Any = category
            yield action, _text(message), f"{kind.__module__}:{kind.__qualname__}", _text(module), line


def _text(pattern: Any) -> str:
    """Return the regular expression of a filter. Python's own filters have plain text."""
    return "" if pattern is None else pattern.pattern if isinstance(pattern, re.Pattern) else re.escape(pattern)


class _Filters:
    """The complete list of filters. A filter for a class of a module that is not imported is set after the import."""

    def __init__(self) -> None:
        self._absent: dict[int, tuple[Any, ...]] = {}
        self._imports = ImportWatch()
        self._seen: list[Any] = []
        self._items: Items = {}

    def read(self, _: Collection[str]) -> Items:
        if not self._items or self._seen != warnings.filters:
            self._seen = list(warnings.filters)
            filters = list(_filters())
            for place, absent in sorted(self._absent.items()):
                filters.insert(place, absent)
            self._items = {"": tuple(filters)}
        return self._items

    def write(self, _: str, value: Any) -> None:
        own = [each for each in warnings.filters if _is_own(each[1], each[3])]
        filters = [(each, _category(each[2])) for each in value]
        self._items = {}
        self._absent = {place: tuple(each) for place, (each, category) in enumerate(filters) if category is None}
        warnings.resetwarnings()
        for (action, message, _name, module, line), category in reversed(filters):
            if category is not None:
                warnings.filterwarnings(cast("Any", action), message, category, module, line)
        for action, pattern, kind, where, line in reversed(own):
            warnings.filterwarnings(cast("Any", action), _text(pattern), cast("Any", kind), _text(where), line)
        for absent in self._absent.values():
            self._imports.watch(absent[2].partition(":")[0], self._again)

    def _again(self) -> None:
        self.write("", self.read(())[""])


def _is_own(message: Any, module: Any) -> bool:
    place = _text(module) or ""
    return _text(message) in (*OWN_FILTERS, HIDING) or place == "modal" or "modal_gpu_magic" in place


def _category(name: str) -> type[Warning] | None:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


# Numbers.

_OF_CONTEXT = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_TRAPS = (decimal.DivisionByZero, decimal.Overflow, decimal.InvalidOperation)
_FRESH_CONTEXT: Final = (
    28,
    decimal.ROUND_HALF_EVEN,
    -999999,
    999999,
    1,
    0,
    tuple(sorted(each.__name__ for each in _TRAPS)),
)


def _decimal() -> Items:
    context = decimal.getcontext()
    traps = context.traps
    on = tuple([signal.__name__ for signal in traps if traps[signal]])
    return {"": (*[getattr(context, name) for name in _OF_CONTEXT], tuple(sorted(on)))}


def _write_decimal(_: str, value: Any) -> None:
    context = decimal.getcontext()
    for name, each in zip(_OF_CONTEXT, value, strict=False):
        setattr(context, name, each)
    for signal in list(context.traps):
        context.traps[signal] = signal.__name__ in value[-1]


# Text of numbers and dates.

_CATEGORIES: Final = ("LC_NUMERIC", "LC_TIME", "LC_MONETARY", "LC_COLLATE")
"""Categories of the locale that Python leaves at `C` until a program sets them."""


def _locale() -> Items:
    return {name: locale.setlocale(getattr(locale, name)) for name in _CATEGORIES}


def _write_locale(name: str, value: Any) -> None:
    """Set a category.

    Raises:
        locale.Error: this machine does not have the locale.
    """
    locale.setlocale(getattr(locale, name), value)


_LIMIT, _INTERVAL, _TIMEOUT = "limit", "interval", "timeout"

_THRESHOLDS: Final = gc.get_threshold()
"""Whether the collector runs is no state: this package stops it for a moment in other threads."""


_METHOD = "method"


def _start_method() -> Items:
    """Read how `multiprocessing` starts processes; without a choice of the program, each side has its system's way."""
    return {_METHOD: sys.modules["multiprocessing"].get_start_method(allow_none=True) or _first_method()}


def _first_method() -> str:
    return str(sys.modules["multiprocessing"].get_all_start_methods()[0])


def _write_start_method(_: str, value: str) -> None:
    if value in sys.modules["multiprocessing"].get_all_start_methods():
        sys.modules["multiprocessing"].set_start_method(value, force=True)


_FILTERS = _Filters()

INTERPRETER: Final = (
    State(_WARNINGS, _FILTERS.read, _FILTERS.write),
    *LOGGING,
    settings(
        "recursion",
        lambda: {_LIMIT: sys.getrecursionlimit()},
        lambda _, value: sys.setrecursionlimit(value),
        lambda: {_LIMIT: 1000},
    ),
    settings(
        "switch interval",
        lambda: {_INTERVAL: sys.getswitchinterval()},
        lambda _, value: sys.setswitchinterval(value),
        lambda: {_INTERVAL: 0.005},
    ),
    settings(
        "socket",
        lambda: {_TIMEOUT: socket.getdefaulttimeout()},
        lambda _, value: socket.setdefaulttimeout(value),
        lambda: {_TIMEOUT: None},
    ),
    settings(
        "garbage collection",
        lambda: {_LIMIT: gc.get_threshold()},
        lambda _, value: gc.set_threshold(*value),
        lambda: {_LIMIT: _THRESHOLDS},
    ),
    settings(
        "digits of integers",
        lambda: {_LIMIT: sys.get_int_max_str_digits()} if hasattr(sys, "get_int_max_str_digits") else {},
        lambda _, value: sys.set_int_max_str_digits(value),
        lambda: {_LIMIT: getattr(sys.int_info, "default_max_str_digits", 0)},
    ),
    settings(
        "start of processes", _start_method, _write_start_method, lambda: {_METHOD: _first_method()}, "multiprocessing"
    ),
    settings("locale", _locale, _write_locale, lambda: dict.fromkeys(_CATEGORIES, "C")),
    settings("decimal", _decimal, _write_decimal, lambda: {"": _FRESH_CONTEXT}, contextual=True),
)
