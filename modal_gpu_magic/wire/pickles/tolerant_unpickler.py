"""What still arrives when part of a transfer cannot be made here: the other names, never garbage.

Pickle's own loader gives up at the first class that is missing, and with it goes what later values refer to. So the
whole stream is read again by the loader written in Python (ten times slower), which puts a stand-in where something
could not be made and goes on. A name fails if a stand-in, or an object made while one was about, is any part of it.
"""

from __future__ import annotations

import pickle
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.loading import Resolving
from modal_gpu_magic.wire.pickles.python_unpickler import OPCODES, PythonUnpickler
from modal_gpu_magic.wire.values.reasons import why_not_here

if TYPE_CHECKING:
    from collections.abc import Callable

_ATOMS = (str, bytes, int, float, complex, bool, type(None))


class Missing:
    """Stands for what could not be made, and bears all that a pickle does to an object."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.__dict__["__new__"] = self  # `cls.__new__(cls)` of a class that is missing

    def __call__(self, *_: Any, **__: Any) -> Missing:
        """As a class or a function: what it makes is missing, too."""
        return self

    def __setstate__(self, state: Any) -> None:
        """As an instance."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """As a dict."""

    def append(self, item: Any) -> None:
        """As a list."""

    def add(self, item: Any) -> None:
        """As a set."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One name's part of the memo: where it starts, and what was lost in it."""

    start: int
    name: str
    loss: str | None


class _Memo(dict[int, Any]):
    """The objects made so far, telling when one is referred to again."""

    def __init__(self, seen: Callable[[int, Any], None]) -> None:
        super().__init__()
        self._seen = seen

    def __getitem__(self, index: int) -> Any:
        value = super().__getitem__(index)
        self._seen(index, value)
        return value


class Salvager(Resolving, PythonUnpickler):  # type: ignore[misc]  # private to pickle, so of no type
    """Loads one name after another; `loss` says what is missing in the present one."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.memo = _Memo(self._seen)
        self.loss: str | None = None
        self._start = 0
        self._parts: list[_Part] = []
        self._lost_known: dict[int, str] = {}
        self._named: dict[int, Any] = {}

    def load_name(self, name: str) -> Any:
        """Load the next name's value. It counts only if `loss` is None afterwards."""
        self._begin()
        value = self.load()
        if isinstance(value, Missing):
            self.loss = self.loss or value.reason
        self._parts.append(_Part(self._start, name, self.loss))
        return value

    def _begin(self) -> None:
        self.loss, self._start = None, len(self.memo)

    def lose(self, error: BaseException) -> Missing:
        """What stands for an object that could not be made."""
        self.loss = self.loss or why_not_here(error)  # what was lost first is the cause
        return Missing(self.loss)

    def find_class(self, module: str, name: str) -> Any:
        """A class or function by name."""
        found = super().find_class(module, name)
        self._named[id(found)] = found
        return found

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        """As for the fast loader, but nothing is written into an object that is here if a part of it was lost."""
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
        """Whether nothing can be missing in an object, whatever was lost around it."""
        if type(value) in (tuple, frozenset):
            return all(map(self._is_whole, value))
        if isinstance(value, type):
            return value.__module__ != "__main__"
        return isinstance(value, _ATOMS) or id(value) in self._named


def _making(operands: int, load: Callable[[Any], None]) -> Callable[[Any], None]:
    """An opcode that takes so many operands off the stack and leaves an object, or a stand-in for it."""

    def opcode(self: Any) -> None:
        rest = len(self.stack) - operands
        try:
            load(self)
        except Exception as error:  # noqa: BLE001 - whatever a user's class raises while it is made
            self.stack[rest:] = [self.lose(error)]

    return opcode


def _filling(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """An opcode that takes its operands off the stack and gives them to the object below, which may be lost by it."""

    def opcode(self: Any) -> None:
        try:
            load(self)
        except Exception as error:  # noqa: BLE001 - whatever a user's class raises while it is filled
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
"""The opcodes that call what a pickle names, and how many operands each takes."""

_FILLING = (pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS, pickle.ADDITEMS, pickle.BUILD)

Salvager.dispatch = {
    **OPCODES,
    **{code[0]: _making(operands, OPCODES[code[0]]) for code, operands in _MAKING.items()},
    **{code[0]: _filling(OPCODES[code[0]]) for code in _FILLING},
}
