"""From what pickle says to what a person wants to know."""

from __future__ import annotations

import contextvars
import functools
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.pickles.fingerprints import why_not
from modal_gpu_magic.wire.values.object_path import MOST_OBJECTS, place_of
from modal_gpu_magic.wire.values.reasons import (
    NotHereError,
    missing_module,
    missing_name,
    why_not_loaded,
    why_unpicklable,
)


@pytest.mark.parametrize(
    ("error", "clause"),
    [
        (TypeError("cannot pickle '_thread.lock' object"), "it holds a lock (_thread.lock)"),
        (TypeError("cannot pickle 'frame' object"), "it holds a running function's frame (frame)"),
        (TypeError("cannot pickle 'lib.Handle' object"), "it holds a lib.Handle, which cannot be pickled"),
        (TypeError("cannot pickle 'list' object"), "it is a list, which cannot be pickled"),
        (RecursionError("maximum"), "it is nested too deeply"),
        (MemoryError(), "pickling it needs more memory than is available"),
        (ValueError(), "it cannot be pickled (ValueError)"),
        (ValueError("x" * 300), "it cannot be pickled (ValueError: " + "x" * 188 + "…)"),
    ],
)
def test_why_unpicklable(error: Exception, clause: str) -> None:
    assert why_unpicklable([], error) == clause


class Held:
    """An object with attributes."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)


class Slim:
    """An object with a slot."""

    __slots__ = ("lock",)
    lock: Any


def slim() -> Slim:
    made = Slim()
    made.lock = threading.Lock()
    return made


def variable(lock: Any) -> Any:
    return lambda: lock


KEPT = Held()

PLACES: list[tuple[Any, str]] = [
    (Held(lock=threading.Lock()), "it holds a lock (_thread.lock) at `.lock`"),
    ({"a": [0, threading.Lock()]}, "it holds a lock (_thread.lock) at `['a'][1]`"),
    (Held(callbacks=[Held(lock=threading.Lock())]), "it holds a lock (_thread.lock) at `.callbacks[0].lock`"),
    (slim(), "it holds a lock (_thread.lock) at `.lock`"),
    (variable(threading.Lock()), "it holds a lock (_thread.lock) at `.__closure__ (lock)`"),
    (functools.partial(print, threading.Lock()), "it holds a lock (_thread.lock) at `.args[0]`"),
    (Held(lock=threading.Lock()).__init__, "it holds a lock (_thread.lock) at `.__self__.lock`"),  # type: ignore[misc]
    (weakref.proxy(KEPT), "weak references cannot be pickled"),
    (Held(of=weakref.ref(KEPT)), "it holds a weak reference (weakref.ReferenceType) at `.of`"),
    ([weakref.WeakKeyDictionary({KEPT: 1})], "it holds weak references (weakref.WeakKeyDictionary) at `[0]`"),
    (Held(it=(number for number in [1])), "it holds a running generator (generator) at `.it`"),
    (Held(c=contextvars.ContextVar("c")), "it holds a _contextvars.ContextVar at `.c`, which cannot be pickled"),
    ([[threading.Lock()] for _ in range(3)], "it holds a lock (_thread.lock) at `[0][0]`"),
    ([[threading.Lock()] for _ in range(6_000)], "it holds a lock (_thread.lock) at `[0][0]`"),
]


@pytest.mark.parametrize(("value", "clause"), PLACES)
def test_the_place_of_the_culprit(value: Any, clause: str) -> None:
    assert why_not(value, {}) == clause


def test_the_place_begins_with_the_name() -> None:
    value = Held(lock=threading.Lock())
    error = TypeError("cannot pickle '_thread.lock' object")
    assert why_unpicklable(value, error, "trainer") == "it holds a lock (_thread.lock) at `trainer.lock`"


def long_list() -> Any:
    return [[number] for number in range(100_000)]


def wide_dict() -> Any:
    return {number: [number] for number in range(100_000)}


def deep_list() -> Any:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("made", [long_list, wide_dict, deep_list])
def test_a_large_value_is_searched_in_part(made: Callable[[], Any]) -> None:
    looked = itertools.count()
    assert place_of(made(), lambda _: next(looked) < 0) is None
    assert 999 < next(looked) <= MOST_OBJECTS


@pytest.mark.parametrize(
    ("error", "clause"),
    [
        (NotHereError("needs a.b"), "needs a.b"),
        (TransferError("gone"), "gone"),
        (ModuleNotFoundError("No module named 'x.y'", name="x.y"), "needs x, which is not installed"),
        (
            ModuleNotFoundError("No module named 'json.y'", name="json.y"),
            "needs json.y, which the installed version of json does not have",
        ),
        (ImportError("libcuda.so.1: not found"), "could not be loaded (ImportError: libcuda.so.1: not found)"),
        (TypeError("bad\nmore"), "could not be loaded (TypeError: bad)"),
    ],
)
def test_why_not_here(error: Exception, clause: str) -> None:
    assert why_not_loaded(error) == clause


def test_names() -> None:
    assert missing_module("nowhere_at_all") == "needs nowhere_at_all, which is not installed"
    assert missing_name("torch.nn", "New") == "needs torch.nn.New, which the installed version of torch does not have"
    assert missing_name("__main__", "Mine") == "needs Mine, which is not defined"
