"""Numbers for immutable values by their content, so that equal ones have one fingerprint.

After a transfer equal strings and tuples may be one object or two: no program should tell, and no fingerprint may.
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

if TYPE_CHECKING:
    from collections.abc import Callable

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


class ValueNumbers:
    """The immutable values met so far. The number of a value is the order in which it was met first."""

    def __init__(self) -> None:
        self._texts: dict[str | bytes, int] = {}
        self._tuples: dict[Any, int] = {}
        self._written: set[int] = set()
        self._held: list[Any] = []

    def text(self, value: str | bytes) -> int:
        """The number of a string, or of bytes."""
        return self._texts.setdefault(value, len(self._texts))

    def namer(self) -> Callable[[Any], Any]:
        """What names an immutable value by its number, and gives None for every other object.

        A function of its own, not a method, since pickle asks it of every object.
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
        """A tuple: itself where it comes first, later its number; None for a tuple that nobody else has."""
        if value and value[0] is Made:
            return None
        number = self._number(value)
        if number in self._written:
            return -1 - number
        self._written.add(number)
        return value

    def pickled(self, value: Any) -> Any:
        """A value of a small type that pickles alone; None: it does not."""
        try:
            return self.text(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        except Exception:  # noqa: BLE001 - such as a time with a zone of the user's own; the pickler goes into that
            return None

    def plain_set(self, value: frozenset[Any]) -> Any:
        """A frozenset of atoms; None: it holds more, and counts as any object."""
        if not _ATOMS.issuperset(map(type, value)):
            return None
        return self.text("\0".join(sorted(map(repr, value))).encode("utf-8", "surrogatepass"))

    def digest(self) -> bytes:
        """What the numbers of the texts stand for."""
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
"""What names a value by its content, by the exact type."""


def know_numpy() -> None:
    """Add numpy's scalars and dtypes, once numpy is loaded."""
    numpy = sys.modules.get("numpy")
    if not hasattr(numpy, "dtypes") or numpy.float64 in NUMBERED:  # type: ignore[union-attr]  # it is loaded
        return
    waiting: list[type] = [numpy.generic, numpy.dtype]  # type: ignore[union-attr]  # likewise
    while waiting:
        kind = waiting.pop()
        if kind.__module__.partition(".")[0] == "numpy":
            NUMBERED[kind] = ValueNumbers.pickled
        waiting += kind.__subclasses__()
