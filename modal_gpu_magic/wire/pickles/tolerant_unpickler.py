"""Load the values of a transfer that can be loaded, when other values cannot.

Pickle's fast loader stops at the first missing class, so that the objects that later values refer to are lost. The
whole stream is therefore read again by pickle's loader in Python (ten times slower). An object that cannot be loaded is
*lost*, and so is each object that would hold it: no class and no function of the user is called with a lost object, and
no object of the receiver is written into. A name fails if its value is lost. What a lost value only shares with other
values arrives with these.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.loading import Resolving
from modal_gpu_magic.wire.pickles.python_unpickler import OPCODES, PythonUnpickler
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.reasons import why_not_loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ATOMS = (str, bytes, int, float, complex, bool, type(None))


class Missing:
    """Stands in for an object that could not be made.

    Args:
        filled: the object that the function which failed may have had to fill; None: none.
    """

    def __init__(self, filled: Any = None) -> None:
        self.filled = filled


@dataclass(frozen=True, slots=True)
class _Loss:
    """Why an object is lost.

    Attributes:
        value: the object.
        name: the name whose value it belongs to.
        why: the reason.
    """

    value: Any
    name: str
    why: str


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
        loss: why the last name's value could not be loaded; None: it was loaded.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.memo = _Memo(self._seen)
        self.loss: str | None = None
        self._name, self._start = "", 0
        self._losses: dict[int, _Loss] = {}
        """The lost objects, by `id`."""
        self._lost_known: dict[int, str] = {}
        """Tokens of the receiver's objects whose new content is lost, with the reason."""
        self._holders: dict[int, list[Any]] = {}
        """By `id` of an object that may still be lost, since it is not complete yet: the objects that hold it."""
        self._met: list[Any] = []
        """Objects of earlier names, and of the receiver, in the value of this name."""

    def load_name(self, name: str) -> Any:
        """Load the next name's value. The value is valid only if `loss` is None afterwards."""
        self._name, self._start = name, len(self.memo)
        self._holders.clear()
        self._met.clear()
        value = self.load()
        self.loss = self.loss_in((value,))
        return value

    def parts(self) -> list[Any]:
        """Return the objects in the value of the last name that are not lost."""
        new = (value for number, value in self.memo.items() if number >= self._start)
        return [value for value in (*new, *self._met) if id(value) not in self._losses]

    def whole_memo(self) -> dict[int, Any]:
        """Return the objects of the stream that are not lost, by number."""
        return {number: value for number, value in self.memo.items() if id(value) not in self._losses}

    def lost_tokens(self) -> frozenset[int]:
        """Return the tokens of the receiver's objects whose new content is lost."""
        return frozenset(self._lost_known)

    # What is lost.

    def loss_in(self, parts: Iterable[Any]) -> str | None:
        """Return why the first lost object among some is lost; None: none is."""
        for part in parts:
            loss = self._losses.get(id(part))
            if loss is not None:
                is_shared = loss.name != self._name and type(part) is not Missing
                return f"shares objects with {loss.name}, which {loss.why}" if is_shared else loss.why
        return None

    def missing(self, why: str, filled: Any = None) -> Missing:
        """Return the stand-in for an object that could not be made."""
        made = Missing(filled)
        self.lose(made, why)
        return made

    def lose(self, value: Any, why: str) -> None:
        """Note that an object is lost, with all that hold it."""
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if id(each) not in self._losses and not is_a(each, _ATOMS):
                self._losses[id(each)] = _Loss(each, self._name, why)
                waiting += self._holders.pop(id(each), ())

    def hold(self, holder: Any, parts: Iterable[Any]) -> None:
        """Note that an object holds others, where these may still be lost."""
        for part in parts:
            if id(part) in self._holders and part is not holder:
                self._holders[id(part)].append(holder)
                self._may_be_lost(holder)

    def _may_be_lost(self, value: Any) -> None:
        if not is_a(value, _ATOMS):
            self._holders.setdefault(id(value), [value])  # with the value, so that no other one has its `id`

    def _seen(self, index: int, value: Any) -> None:
        if index >= self._start:
            self._may_be_lost(value)
        elif index:  # the namespace is number 0
            self._met.append(value)

    def take_known(self, pid: tuple[Any, ...]) -> Any:
        """Return an object of the receiver as the fast loader does, unless its content is lost."""
        token, _, *content = pid
        why = self._lost_known.get(token) or self.loss_in((pid, *content))
        if why is None:
            try:
                known = self.persistent_load(pid)
            except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is filled
                pass_on(error)
                why = why_not_loaded(error)
            else:
                self._met.append(known)
                self._may_be_lost(known)
                return known
        self._lost_known[token] = why
        self.lose(self.known.give_up(token), why)
        return self.missing(why)


def _making(operands: int, load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap an opcode that pops `operands` operands and pushes an object."""

    def opcode(self: TolerantUnpickler) -> None:
        rest = len(self.stack) - operands
        parts = self.stack[rest:]
        why = self.loss_in(parts)
        if why is None:
            try:
                load(self)
            except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is loaded
                pass_on(error)
                why = why_not_loaded(error)
            else:
                self.hold(self.stack[-1], parts)
                return
        self.stack[rest:] = [self.missing(why, _filled(parts))]

    return opcode


def _filled(parts: list[Any]) -> Any:
    """Return the object that a function fills if the stream drops the function's result: its first argument."""
    arguments = parts[-1] if parts else ()
    return arguments[0] if type(arguments) is tuple and arguments else None


def _filling(operands: int | None, load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap an opcode that fills an object with `operands` operands above it; None: with all above the mark."""

    def opcode(self: TolerantUnpickler) -> None:
        below = self.metastack[-1] if operands is None else self.stack
        rest = len(below) - (operands or 0)
        parts = self.stack[0 if operands is None else rest :]
        target = below[rest - 1]
        why = self.loss_in((target, *parts))
        if why is None:
            self.hold(target, parts)
            try:
                load(self)
            except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is filled
                pass_on(error)
                why = why_not_loaded(error)
            else:
                return
        elif operands is None:
            self.pop_mark()
        del self.stack[rest:]
        self.lose(target, why)

    return opcode


def _tuple(operands: int | None, load: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap an opcode that makes a tuple of `operands` operands; None: of all above the mark."""

    def opcode(self: TolerantUnpickler) -> None:
        parts = self.stack[0 if operands is None else len(self.stack) - operands :]
        load(self)
        why = self.loss_in(parts)
        if why is None:
            self.hold(self.stack[-1], parts)
        else:
            self.lose(self.stack[-1], why)

    return opcode


def _frozenset(self: TolerantUnpickler) -> None:
    parts = self.pop_mark()
    why = self.loss_in(parts)
    if why is None:
        try:
            made = frozenset(parts)
        except BaseException as error:  # noqa: BLE001 - a user's `__hash__` may raise anything
            pass_on(error)
            why = why_not_loaded(error)
        else:
            self.append(made)
            self.hold(made, parts)
            return
    self.append(self.missing(why))


def _persistent(self: TolerantUnpickler) -> None:
    self.stack[-1] = self.take_known(self.stack[-1])


def _pop(self: TolerantUnpickler) -> None:
    """Drop an object: the result of a function that fills its first argument, or a tuple that holds itself."""
    if self.stack and type(self.stack[-1]) is Missing and self.stack[-1].filled is not None:
        self.lose(self.stack[-1].filled, self.loss_in(self.stack[-1:]) or "")
    OPCODES[pickle.POP[0]](self)


def _wrapped() -> Iterator[tuple[int, Callable[[Any], None]]]:
    """Yield the opcodes that make or fill an object."""
    for code, operands in {
        pickle.GLOBAL: 0,
        pickle.STACK_GLOBAL: 2,
        pickle.REDUCE: 2,
        pickle.NEWOBJ: 2,
        pickle.NEWOBJ_EX: 3,
    }.items():
        yield code[0], _making(operands, OPCODES[code[0]])
    for code, above in {
        pickle.APPEND: 1,
        pickle.SETITEM: 2,
        pickle.BUILD: 1,
        pickle.APPENDS: None,
        pickle.SETITEMS: None,
        pickle.ADDITEMS: None,
    }.items():
        yield code[0], _filling(above, OPCODES[code[0]])
    for code, items in {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3, pickle.TUPLE: None}.items():
        yield code[0], _tuple(items, OPCODES[code[0]])
    yield pickle.FROZENSET[0], _frozenset
    yield pickle.BINPERSID[0], _persistent
    yield pickle.POP[0], _pop


TolerantUnpickler.dispatch = {**OPCODES, **dict(_wrapped())}
