"""Pickle attributes that a program added to an object whose class leaves them out of its pickle.

The pickle of a data frame, an image, a path or a decimal has what its class knows. `frame.name = "train"`, or an
attribute that a class of the notebook adds to `Decimal`, would be missing on the other side.
"""

from __future__ import annotations

import copyreg
import dis
import functools
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
    public = _public(value)
    if not public:
        return NotImplemented
    registered = copyreg.dispatch_table.get(type(value))
    reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if registered is None else registered(value)
    if not isinstance(reduced, tuple):  # the name of a global
        return reduced
    make, arguments, state, items, pairs, setter = (*reduced, *(None,) * _PARTS)[:_PARTS]
    left_out = {name: each for name, each in public.items() if not _is_in(state, name)}
    added = sendable(pickler, _added(type(value), left_out))
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
    return _added(type(value), _public(value))


def _added(kind: type, attributes: dict[str, Any]) -> dict[str, Any]:
    author = _author(kind) if attributes else kind
    return {name: each for name, each in attributes.items() if not _is_known(author, name)}


def _public(value: Any) -> dict[str, Any]:
    """Return the attributes of an object whose names have no underscore."""
    attributes = attributes_of(value) or {}
    return {name: each for name, each in attributes.items() if type(name) is str and not name.startswith("_")}


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


@functools.lru_cache(maxsize=1024)
def _is_known(author: type, name: str) -> bool:
    """Whether a class or one of its bases has a name, or a method that sets the name on `self`."""
    bases = author.__mro__
    return any(name in vars(each) for each in bases) or any(_sets(each, name) for each in _functions_of(bases))


def _functions_of(bases: tuple[type, ...]) -> Iterator[types.FunctionType]:
    """Yield the methods of classes that are written in Python, those behind properties and decorators too."""
    for value in (value for each in bases for value in vars(each).values()):
        for part in (value, *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "func"))):
            while isinstance(part, types.FunctionType):
                yield part
                part = getattr(part, "__wrapped__", None)  # noqa: PLW2901 - the decorated function


def _sets(function: types.FunctionType, name: str) -> bool:
    """Whether a method sets an attribute of its first argument."""
    code = function.__code__
    if name not in code.co_names or not code.co_argcount:
        return False
    pairs = itertools.pairwise(dis.get_instructions(code))
    stores = (before for before, step in pairs if step.opname == "STORE_ATTR" and step.argval == name)
    return any(_last_loaded(before) == code.co_varnames[0] for before in stores)


def _last_loaded(step: dis.Instruction) -> Any:
    """Return the variable that an instruction loads, the last one if it loads two."""
    return step.argval[-1] if type(step.argval) is tuple else step.argval
