"""Exceptions that cross are what they were, but for their tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest
from typing_extensions import Self

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.transfer import pack, unpack


class Formats(Exception):  # noqa: N818 - what users call theirs
    """Its `__init__` formats what it gets."""

    def __init__(self, code: int) -> None:
        super().__init__(f"failed with {code}")
        self.code = code


class KeywordOnly(Exception):  # noqa: N818
    """It cannot be made of its arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__(code, "why")
        self.code = code


class Slotted(Exception):  # noqa: N818
    """It has slots, and a property of one's name."""

    __slots__ = ("message", "unset")

    def __init__(self, message: str) -> None:
        self.message = message

    def __str__(self) -> str:
        return f"slotted: {self.message}"


class WithNew(Exception):  # noqa: N818
    """Its `__new__` takes more than `args` has."""

    def __new__(cls, first: int, second: int) -> Self:
        made = super().__new__(cls, first)
        made.second = second  # type: ignore[attr-defined]
        return made

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")


class OwnOSError(OSError):
    """It is made of something else than an `OSError` is."""

    def __init__(self, what: str) -> None:
        super().__init__(2, f"no {what}", "file")
        self.what = what


class SaysHow(Exception):  # noqa: N818
    """It says itself how it is pickled."""

    def __init__(self, first: int) -> None:
        super().__init__(first * 2)
        self.first = first

    def __reduce__(self) -> Any:
        return SaysHow, (self.first,)


def raised(act: str) -> BaseException:
    """What some code raises."""
    try:
        exec(act, {"json": json, "subprocess": subprocess, "Formats": Formats})
    except BaseException as error:  # noqa: BLE001 - any
        return error
    raise AssertionError(act)


CASES: dict[str, BaseException] = {
    "formats": Formats(5),
    "keyword only": KeywordOnly(code=3),
    "slots": Slotted("m"),
    "new": WithNew(1, 2),
    "own OSError": OwnOSError("such"),
    "says how": SaysHow(3),
    "no file": raised("open('/no/such')"),
    "two files": raised("import os; os.rename('/no/such', '/no/other')"),
    "unicode": raised("b'\\xff'.decode()"),
    "encode": raised("'é'.encode('ascii')"),
    "syntax": raised("compile('a = = 2', 'f', 'exec')"),
    "exit": SystemExit(4),
    "import": raised("import no_such_module_at_all"),
    "name": raised("never_bound"),
    "attribute": raised("(5).foo"),
    "key": KeyError("k"),
    "stop": StopIteration(7),
    "json": raised("json.loads('{')"),
    "process": raised("subprocess.run(['false'], check=True)"),
    "cause": raised("try: {}['k']\nexcept KeyError as e: raise Formats(1) from e"),
    "context": raised("try: {}['k']\nexcept KeyError: raise Formats(1)"),
    "no cause": raised("try: {}['k']\nexcept KeyError: raise Formats(1) from None"),
}
if sys.version_info >= (3, 11):
    CASES["note"] = raised("e = Formats(1); e.add_note('and more'); raise e")
    CASES["group"] = raised("raise ExceptionGroup('both', [Formats(1), ExceptionGroup('in', [KeyError('b')])])")


def sent(value: Any) -> Any:
    """What arrives of a value."""
    store = InlineStore()
    transfer = pack({"value": value}, {}, store)
    return unpack(transfer, {}, InlineStore(dict(transfer.inline))).values["value"]


def seen(error: BaseException | None) -> Any:
    """All that a program can see of an exception."""
    if error is None:
        return None
    names: tuple[str, ...] = (
        "errno",
        "strerror",
        "filename",
        "filename2",
        "code",
        "value",
        "name",
        "path",
        "msg",
        "lineno",
        "offset",
    )
    names += ("text", "object", "start", "end", "reason", "encoding", "message", "unset")
    fields = {name: getattr(error, name) for name in names if hasattr(error, name)}
    inner = [seen(each) for each in getattr(error, "exceptions", ())]
    links = seen(error.__cause__), seen(error.__context__), error.__suppress_context__
    return type(error), str(error), repr(error), repr(error.args), vars(error), fields, inner, links


@pytest.mark.parametrize("error", CASES.values(), ids=CASES.keys())
def test_an_exception_arrives_as_it_is(error: BaseException) -> None:
    arrived = sent(error)
    assert seen(arrived) == seen(error)
    assert seen(sent(arrived)) == seen(error)
    assert arrived.__traceback__ is None


@pytest.mark.parametrize("error", CASES.values(), ids=CASES.keys())
def test_reading_does_not_change_its_fingerprint(error: BaseException) -> None:
    first = fingerprint(error, {})
    seen(error)
    assert first is not None
    assert fingerprint(error, {}) == first


def test_what_it_holds_stays_shared() -> None:
    shared = [1]
    error = Formats(1)
    error.held = shared  # type: ignore[attr-defined]
    arrived, held = sent([error, shared])
    assert arrived.held is held


def test_an_exception_may_hold_itself() -> None:
    error = Formats(1)
    error.me = error  # type: ignore[attr-defined]
    arrived = sent(error)
    assert arrived.me is arrived


def test_what_it_came_from_is_left_out_if_it_cannot_be_pickled() -> None:
    error, source = Formats(1), ValueError("v")
    source.lock = threading.Lock()  # type: ignore[attr-defined]
    error.__context__ = source
    arrived = sent(error)
    assert str(arrived) == "failed with 1"
    assert arrived.__context__ is None


def test_one_that_holds_a_lock_itself_does_not_travel() -> None:
    error = Formats(1)
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    assert fingerprint(error, {}) is None
