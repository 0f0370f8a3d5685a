"""Load the values of a transfer that can be loaded, when other values cannot.

Pickle's fast loader stops at the first missing class, so that the objects that later values refer to are lost. The
whole stream is therefore read again by pickle's loader in Python (ten times slower), which puts a stand-in in the place
of an object that cannot be loaded, and continues. A name fails if its value contains a stand-in, or an object that was
loaded as part of a failed value.
"""

from __future__ import annotations

import pickle
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.loading import Resolving
from modal_gpu_magic.wire.pickles.python_unpickler import OPCODES, PythonUnpickler
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.reasons import why_not_loaded

if TYPE_CHECKING:
    from collections.abc import Callable

_ATOMS = (str, bytes, int, float, complex, bool, type(None))


class Missing:
    """Stands in for an object that could not be loaded; accepts every operation of an unpickler."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.__dict__["__new__"] = self  # `cls.__new__(cls)` of a class that is missing

    def __call__(self, *_: Any, **__: Any) -> Missing:
        """Return the stand-in, as the result of a missing class or function."""
        return self

    def __setstate__(self, state: Any) -> None:
        """Ignore the state of an instance."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an item of a dict."""

    def append(self, item: Any) -> None:
        """Ignore an item of a list."""

    def add(self, item: Any) -> None:
        """Ignore an item of a set."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of the memo that belongs to one name.

    Attributes:
        start: number of the first object in the memo.
        name: the name.
        loss: why the name's value could not be loaded; None: the value was loaded.
    """

    start: int
    name: str
    loss: str | None


class _Memo(dict[int, Any]):
    """The objects loaded so far; calls `seen` when the stream refers to an object again."""

    def __init__(self, seen: Callable[[int, Any], None]) -> None:
        super().__init__()
        self._seen = seen

    def __getitem__(self, index: int) -> Any:
        value = super().__getitem__(index)
        self._seen(index, value)
        return value


class TolerantUnpickler(Resolving, PythonUnpickler):  # type: ignore[misc]  # private to pickle, so of no type
    """Loads one name after another.

    Attributes:
        loss: why the current name's value could not be loaded; None: no loss so far.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.memo = _Memo(self._seen)
        self.loss: str | None = None
        self._start = 0
        self._parts: list[_Part] = []
        self._lost_known: dict[int, str] = {}
        self._named: dict[int, Any] = {}

    def load_name(self, name: str) -> Any:
        """Load the next name's value. The value is valid only if `loss` is None afterwards."""
        self._begin()
        value = self.load()
        if isinstance(value, Missing):
            self.loss = self.loss or value.reason
        self._parts.append(_Part(self._start, name, self.loss))
        return value

    def _begin(self) -> None:
        self.loss, self._start = None, len(self.memo)

    def lose(self, error: BaseException) -> Missing:
        """Record the loss and return the stand-in for an object that could not be loaded."""
        self.loss = self.loss or why_not_loaded(error)  # the first loss is the cause
        return Missing(self.loss)

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function by name, and record that it was found by name."""
        found = super().find_class(module, name)
        self._named[id(found)] = found
        return found

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        """Return a known object as the fast loader does, but do not update an object whose content has a loss."""
        token, _, *content = pid
        if content and self.loss:
            self._lost_known[token] = self.loss
        if token in self._lost_known:
            self.loss = self.loss or self._lost_known[token]
            return Missing(self._lost_known[token])
        return super().persistent_load(pid)

    def _seen(self, index: int, value: Any) -> None:
        if isinstance(value, Missing):
            self.loss = self.loss or value.reason
        elif index < self._start and not self._is_whole(value):
            part = self._parts[bisect_right(self._parts, index, key=lambda part: part.start) - 1]
            if part.loss:
                self.loss = self.loss or f"shares objects with {part.name}, which {part.loss}"

    def _is_whole(self, value: Any) -> bool:
        """Whether an object cannot contain a stand-in, even if its name failed."""
        if type(value) in (tuple, frozenset):
            return all(map(self._is_whole, value))
        if isinstance(value, type):
            return value.__module__ != "__main__"
        return isinstance(value, _ATOMS) or id(value) in self._named


def _making(operands: int, load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap an opcode that pops `operands` operands and pushes an object: push a stand-in after an error."""

    def opcode(self: Any) -> None:
        rest = len(self.stack) - operands
        try:
            load(self)
        except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is loaded
            pass_on(error)
            self.stack[rest:] = [self.lose(error)]

    return opcode


def _filling(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap an opcode that fills the object on the stack: replace the object by a stand-in after an error."""

    def opcode(self: Any) -> None:
        try:
            load(self)
        except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is filled
            pass_on(error)
            self.stack[-1] = self.lose(error)

    return opcode


_MAKING = {
    pickle.GLOBAL: 0,
    pickle.STACK_GLOBAL: 2,
    pickle.REDUCE: 2,
    pickle.NEWOBJ: 2,
    pickle.NEWOBJ_EX: 3,
    pickle.BINPERSID: 1,
}
"""The opcodes that create objects, each with its number of operands."""

_FILLING = (pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS, pickle.ADDITEMS, pickle.BUILD)

TolerantUnpickler.dispatch = {
    **OPCODES,
    **{code[0]: _making(operands, OPCODES[code[0]]) for code, operands in _MAKING.items()},
    **{code[0]: _filling(OPCODES[code[0]]) for code in _FILLING},
}
