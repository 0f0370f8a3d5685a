"""Number immutable values by content, so that equal values have the same fingerprint.

After a transfer two equal strings or tuples may be one object or two; a fingerprint must not depend on that.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import pathlib
import pickle
import sys
import uuid
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.buffers.hashing import new_hash
from modal_gpu_magic.wire.pickles.types.notebook_functions import Made
from modal_gpu_magic.wire.values.kinds import module_of
from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Callable

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


class ValueNumbers:
    """The immutable values seen so far, numbered in the order of their first occurrence."""

    def __init__(self) -> None:
        self._texts: dict[str | bytes, int] = {}
        self._tuples: dict[Any, int] = {}
        self._written: set[int] = set()
        self._held: list[Any] = []

    def text(self, value: str | bytes) -> int:
        """Return the number of a string or of bytes."""
        return self._texts.setdefault(value, len(self._texts))

    def namer(self) -> Callable[[Any], Any]:
        """Return the `persistent_id` function: the number of an immutable value, None for every other object.

        A closure is faster than a method, and pickle calls this function for every object.
        """
        texts, rule = self._texts, NUMBERED.get
        number_of = texts.setdefault

        def name(value: Any) -> Any:
            kind = type(value)
            if kind is str:
                return number_of(value, len(texts))
            number = rule(kind)
            return None if number is None else number(self, value)

        return name

    def sequence(self, value: tuple[Any, ...]) -> Any:
        """Return a tuple at its first occurrence, its number afterwards; None for a temporary tuple of a reducer."""
        if value and value[0] is Made:
            return None
        number = self._number(value)
        if number in self._written:
            return -1 - number
        self._written.add(number)
        return value

    def pickled(self, value: Any) -> Any:
        """Return the number of a value of a simple type by its pickle; None: the value does not pickle alone."""
        try:
            return self.text(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        except BaseException as error:  # noqa: BLE001 - for example a time with a user's own time zone, which the pickler handles
            pass_on(error)
            return None

    def plain_set(self, value: frozenset[Any]) -> Any:
        """Return the number of a frozenset of atoms; None: another frozenset, which is pickled like any object."""
        if not _ATOMS.issuperset(map(type, value)):
            return None
        return self.text("\0".join(sorted(map(repr, value))).encode("utf-8", "surrogatepass"))

    def digest(self) -> bytes:
        """Return the digest of all numbered texts, in the order of their numbers."""
        running = new_hash()
        for text in self._texts:
            data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            running.update(b"%d:%d:" % (isinstance(text, str), len(data)))
            running.update(data)
        return bytes(running.digest())

    def _number(self, value: tuple[Any, ...]) -> int:
        self._held.append(value)
        return self._tuples.setdefault(tuple(map(self._key, value)), len(self._tuples))

    def _key(self, item: Any) -> Any:
        kind = type(item)
        if kind is tuple:
            return "tuple", self._number(item)
        if kind is float:
            return kind, item.hex()
        if kind in _ATOMS:
            return kind, repr(item) if kind is complex else item
        if kind in NUMBERED:
            number = NUMBERED[kind](self, item)
            return ("value", number) if number is not None else ("object", id(item))
        return "object", id(item)


NUMBERED: dict[type, Callable[[ValueNumbers, Any], Any]] = {
    str: ValueNumbers.text,
    bytes: ValueNumbers.text,
    tuple: ValueNumbers.sequence,
    frozenset: ValueNumbers.plain_set,
    **dict.fromkeys(
        (
            *(dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone),
            *(decimal.Decimal, fractions.Fraction, uuid.UUID, range, slice),
            *(pathlib.Path, pathlib.PosixPath, pathlib.PurePosixPath),
        ),
        ValueNumbers.pickled,
    ),
}
"""Functions that number a value by its content, by exact type."""


def know_numpy() -> None:
    """Add numpy's scalars and dtypes to `NUMBERED` if numpy is imported."""
    numpy = sys.modules.get("numpy")
    if not hasattr(numpy, "dtypes") or numpy.float64 in NUMBERED:  # type: ignore[union-attr]  # it is loaded
        return
    waiting: list[type] = [numpy.generic, numpy.dtype]  # type: ignore[union-attr]  # likewise
    while waiting:
        kind = waiting.pop()
        if module_of(kind).partition(".")[0] == "numpy":
            NUMBERED[kind] = ValueNumbers.pickled
        waiting += kind.__subclasses__()
