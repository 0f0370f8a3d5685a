"""Pickle attributes that a program added to an object whose class leaves them out of its pickle.

The pickle of a data frame, an image, a path or a decimal has what its class knows. `frame.name = "train"`, or an
attribute that a class of the notebook adds to `Decimal`, would be missing on the other side.
"""

from __future__ import annotations

import copyreg
import dis
import itertools
import pickle
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types import cloudpickle_names
from modal_gpu_magic.wire.values.attributes import attributes_of, tells_all
from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.wire.pickles.protocol import Pickler

_HOOKS = ("__reduce_ex__", "__reduce__", "__getstate__")
"""Methods that decide what a pickle has."""


def may_leave_out(kind: type) -> bool:
    """Whether pickles of a class's instances may lack attributes: a library's class decides what they have.

    A class of the notebook that decides on that is taken at its word.
    """
    if not kind.__dictoffset__:
        return False
    author = _author(kind)
    return author is not object and cloudpickle_names.goes_by_name(author)


def reduce_with_added(pickler: Pickler, value: Any) -> Any:
    """Return the reduction of an object with its added attributes; NotImplemented: pickle's own rules apply."""
    added = added_to(value)
    if not added:
        return NotImplemented
    registered = copyreg.dispatch_table.get(type(value))
    reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if registered is None else registered(value)
    if not isinstance(reduced, tuple):  # the name of a global
        return reduced
    make, arguments, state, items, pairs, setter = (*reduced, *(None,) * _PARTS)[:_PARTS]
    added = sendable(pickler, {name: each for name, each in added.items() if not _is_in(state, name)})
    if not added or setter is not None:
        return reduced
    return make, arguments, (state, added), items, pairs, set_state_and_added


def sendable(pickler: Pickler, added: dict[str, Any]) -> dict[str, Any]:
    """Return the added attributes without those that cannot be pickled: the class leaves them out as well.

    A trial has constants only: another attribute may refer to its object.
    """
    return {
        name: each
        for name, each in added.items()
        if type(each) in _CONSTANTS or (not pickler.is_trial and pickler.travels(each))
    }


def set_state_and_added(value: Any, content: tuple[Any, dict[str, Any]]) -> None:
    """Set the state of an object as pickle does, then its added attributes."""
    state, added = content
    if state is not None:
        _set_state(value, state)
    add(value, added)


def add(value: Any, added: dict[str, Any]) -> None:
    """Set the added attributes of an object."""
    attributes_of(value).update(added)  # type: ignore[union-attr]  # `may_leave_out`


def names_deleted(value: Any, state: Any, added: dict[str, Any]) -> list[str]:
    """Return the attributes of an object that the sender's object no longer has.

    What a class leaves out of its pickle is each side's own: those attributes stay. So does what cannot be sent.

    Args:
        value: the receiver's object.
        state: the state that was received; None: the object has none.
        added: the added attributes that were received.
    """
    is_told = type(state) is dict
    present, kind = attributes_of(value), type(value)
    missing = [name for name in present or () if name not in added and not (is_told and name in state)]
    if not missing or tells_all(kind):
        return missing if is_told or state is None else []
    pickled = _pickled(value) if is_told else {}
    added_here = added_to(value) if may_leave_out(kind) else {}
    return [name for name in missing if name in pickled or type(added_here.get(name, value)) in _PLAIN]


def _pickled(value: Any) -> dict[str, Any]:
    """Return the attributes that a pickle of an object has; none if its class fails, or its state is no dict."""
    try:
        reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 - code of the object's class may raise anything
        pass_on(error)
        return {}
    state = reduced[_STATE] if isinstance(reduced, tuple) and len(reduced) > _STATE else None
    return state if type(state) is dict else {}


def added_to(value: Any) -> dict[str, Any]:
    """Return the attributes of an object that the class that decides on its pickle knows nothing of.

    A class knows the attributes that its methods, or those of its bases, set on `self`, and the names that it has
    itself. Names with an underscore belong to it as well: libraries keep caches and links there.
    """
    attributes = attributes_of(value)
    if not attributes:
        return {}
    known = _known_names(type(value))
    return {name: each for name, each in attributes.items() if not _is_private(name) and name not in known}


def _is_private(name: Any) -> bool:
    return type(name) is not str or name.startswith("_")


def _is_in(state: Any, name: str) -> bool:
    """Whether a state has an attribute: as pickle's own rules lay it out, attributes come first, then slots."""
    attributes = state[0] if type(state) is tuple and state else state
    return isinstance(attributes, dict) and name in attributes


def _set_state(value: Any, state: Any) -> None:
    """Set a state as pickle does: by the class, or as attributes and slots."""
    if hasattr(value, "__setstate__"):
        value.__setstate__(state)
        return
    attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)  # noqa: PLR2004 - as pickle has it
    if attributes:
        value.__dict__.update(attributes)
    for name, each in (slots or {}).items():
        setattr(value, name, each)


_CONSTANTS = frozenset({int, float, complex, bool, str, bytes, type(None)})

_PLAIN = _CONSTANTS | {list, tuple, dict, set, bytearray, types.FunctionType}
"""Types of added attributes that are deleted with the sender's: others may be missing because they cannot be sent."""

_STATE, _PARTS = 2, 6
"""Index of the state in a reduction; length of a reduction with all its parts."""


def _author(kind: type) -> type:
    """Return the class that decides what a pickle of a class's instances has."""
    if kind in copyreg.dispatch_table:
        return kind
    authors = [next(each for each in kind.__mro__ if name in vars(each)) for name in _HOOKS if hasattr(kind, name)]
    return min(authors, key=kind.__mro__.index)


_KNOWN: dict[type, frozenset[str]] = {}


def _known_names(kind: type) -> frozenset[str]:
    """Return the names that the author of a class's pickles has, and those that its methods set on `self`."""
    found = _KNOWN.get(kind)
    if found is None:
        bases = _author(kind).__mro__
        names = {name for each in bases for name in vars(each)}
        found = _KNOWN[kind] = frozenset(names.union(*map(_set_on_self, _functions_of(bases))))
    return found


def _functions_of(bases: tuple[type, ...]) -> Iterator[types.FunctionType]:
    """Yield the methods of classes that are written in Python, those behind properties and decorators too."""
    for value in (value for each in bases for value in vars(each).values()):
        for part in (value, *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "func"))):
            while isinstance(part, types.FunctionType):
                yield part
                part = getattr(part, "__wrapped__", None)  # noqa: PLW2901 - the decorated function


def _set_on_self(function: types.FunctionType) -> set[str]:
    """Return the names of the attributes that a method sets on its first argument."""
    code = function.__code__
    if not code.co_argcount:
        return set()
    first, steps = code.co_varnames[0], list(dis.get_instructions(code))
    pairs = itertools.pairwise(steps)
    return {step.argval for before, step in pairs if step.opname == "STORE_ATTR" and _last_loaded(before) == first}


def _last_loaded(step: dis.Instruction) -> Any:
    """Return the variable that an instruction loads, the last one if it loads two."""
    return step.argval[-1] if type(step.argval) is tuple else step.argval
