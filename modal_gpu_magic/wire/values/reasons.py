"""Short reasons why a value cannot be sent or loaded, from the errors of pickle. Text only."""

from __future__ import annotations

import functools
import importlib.util
import pickle
import re
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.values.kinds import module_of, name_of
from modal_gpu_magic.wire.values.object_path import place_of
from modal_gpu_magic.wire.values.own_code import pass_on, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 200
"""Longest part of another library's message that is shown, characters."""

_CANNOT = re.compile(r"cannot (?:pickle|serialize) '?([\w.]+)'? (?:object|instances)")

_NOUNS = {
    "_thread.lock": ("a lock", "locks"),
    "_thread.RLock": ("a lock", "locks"),
    "_thread._local": ("thread-local values", "thread-local values"),
    "generator": ("a running generator", "running generators"),
    "async_generator": ("a running generator", "running generators"),
    "coroutine": ("a running coroutine", "running coroutines"),
    "frame": ("a running function's frame", "running functions' frames"),
    "traceback": ("a traceback", "tracebacks"),
    "TextIOWrapper": ("an open file", "open files"),
    "BufferedReader": ("an open file", "open files"),
    "BufferedWriter": ("an open file", "open files"),
    "BufferedRandom": ("an open file", "open files"),
    "FileIO": ("an open file", "open files"),
    "socket": ("a socket", "sockets"),
    "socket.socket": ("a socket", "sockets"),
    "SSLContext": ("a TLS context", "TLS contexts"),
    "sqlite3.Connection": ("a database connection", "database connections"),
    "sqlite3.Cursor": ("a database cursor", "database cursors"),
    "weakref.ReferenceType": ("a weak reference", "weak references"),
    "weakref": ("a weak reference", "weak references"),
    "weakref.ProxyType": ("a weak reference", "weak references"),
    "weakref.CallableProxyType": ("a weak reference", "weak references"),
    "weakref.WeakKeyDictionary": ("weak references", "weak references"),
    "weakref.WeakValueDictionary": ("weak references", "weak references"),
    "_queue.SimpleQueue": ("a queue between threads", "queues between threads"),
    "mmap.mmap": ("a mapped file", "mapped files"),
    "_cffi_backend._CDataBase": ("memory of a C library", "pieces of a C library's memory"),
    "module": ("a module made at run time", "modules made at run time"),
    "select.epoll": ("an event loop's poll", "polls of event loops"),
    "memoryview": ("a view of memory", "views of memory"),
}
"""Nouns, one and many, for the types that pickle refuses most often."""


class NotHereError(pickle.UnpicklingError):
    """This process lacks a class, function or module that a value needs. The message starts with `needs`."""


class RefusedError(pickle.PicklingError):
    """A value is refused although it could be pickled, because the receiver would get an incomplete value.

    Args:
        culprit: the refused object.
        noun: the kind of object, as a noun phrase.
        cure: the fix, as a clause.
    """

    def __init__(self, culprit: Any, noun: str, cure: str) -> None:
        super().__init__(f"{noun}: {cure}")
        self.culprit, self.noun, self.cure = culprit, noun, cure


def why_unpicklable(value: Any, error: BaseException, name: str = "") -> str:
    """Return a clause about a value: `locks cannot be pickled`, ``it holds a lock (_thread.lock) at `trainer.lock` ``.

    Args:
        value: the value.
        error: the exception that pickling raised.
        name: name of the value's variable, with which the path to the culprit starts.
    """
    if isinstance(error, RecursionError) or "recursion" in words_of(error):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "pickling it needs more memory than is available"
    if isinstance(error, RefusedError):
        verb = "is" if error.culprit is value else "holds"
        return f"it {verb} {error.noun}{_at(name, value, lambda each: each is error.culprit)}: {error.cure}"
    refused = _CANNOT.search(words_of(error))
    if refused is None:
        return f"it cannot be pickled ({_brief(error)})"
    kind = refused[1]
    names = {f"{module_of(type(value))}.{type(value).__qualname__}".removeprefix("builtins."), type(value).__qualname__}
    verb = "is" if kind in names else "holds"
    one, many = _NOUNS.get(kind) or _NOUNS.get(kind.rpartition(".")[2]) or ("", "")
    if many and verb == "is":
        return f"{many} cannot be pickled"
    place = _at(name, value, functools.partial(_is_named, kind))
    return (
        f"it holds {one} ({kind}){place}"
        if one
        else f"it {verb} {_article(kind)} {kind}{place}, which cannot be pickled"
    )


def _at(name: str, value: Any, is_it: Callable[[Any], bool]) -> str:
    """Return the path to the culprit as a phrase; empty: not found, or the value itself."""
    try:
        path = place_of(value, is_it)
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is read
        pass_on(error)
        return ""
    return f" at `{name}{path}`" if path else ""


def _is_named(kind: str, value: Any) -> bool:
    its = type(value)
    return kind in (its.__name__, its.__qualname__, f"{module_of(its)}.{its.__qualname__}".removeprefix("builtins."))


def _article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeiou" else "a"


def why_not_loaded(error: BaseException) -> str:
    """Return a clause about a received value that could not be loaded: `needs torch, which is not installed`."""
    if isinstance(error, NotHereError | TransferError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing_module(error.name)
    return f"could not be loaded ({_brief(error)})"


def missing_module(name: str) -> str:
    """Return the clause for a missing module: the package is not installed, or is another version."""
    package = name.partition(".")[0]
    if package == "__main__":
        return f"needs {name}, which is not defined"
    if name != package and _is_installed(package):
        return f"needs {name}, which the installed version of {package} does not have"
    return f"needs {package}, which is not installed"


def missing_name(module: str, name: str) -> str:
    """Return the clause for a class or function that its module does not have."""
    if module == "__main__":
        return f"needs {name}, which is not defined"
    return f"needs {module}.{name}, which the installed version of {module.partition('.')[0]} does not have"


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _brief(error: BaseException) -> str:
    lines = words_of(error).strip().splitlines()
    name = name_of(type(error))
    text = f"{name}: {lines[0]}" if lines else name
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
