"""Write a received value into the receiver's own object, so that all references see the change.

`absorb` writes the content of one object; the objects that it refers to were written or created before. The content is
copied at most once. The caller replaces objects that cannot be written into.
"""

from __future__ import annotations

import array
import builtins
import collections
import contextlib
import functools
import io
import logging
import random
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.identity import has_identity
from modal_gpu_magic.wire.pickles.library_writers import absorb_tensor, can_take, writer_of
from modal_gpu_magic.wire.pickles.types.added_attributes import names_deleted
from modal_gpu_magic.wire.pickles.types.array_kinds import is_array, is_plain_array
from modal_gpu_magic.wire.pickles.types.compiled import is_compiled
from modal_gpu_magic.wire.pickles.types.compiled import write as write_compiled
from modal_gpu_magic.wire.pickles.types.iterators import ITERATORS, end_iterator
from modal_gpu_magic.wire.pickles.types.log_handlers import absorb_handler
from modal_gpu_magic.wire.pickles.types.mapping_views import MAPPING_VIEWS, is_view_of_same
from modal_gpu_magic.wire.pickles.types.members import is_by_statement
from modal_gpu_magic.wire.pickles.types.memory_views import is_same_view
from modal_gpu_magic.wire.pickles.types.tensors import is_plain
from modal_gpu_magic.wire.values.attributes import attributes_of, slots_of
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.torch_facts import package_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Writer = Callable[[Any, Any], bool]

_IMMUTABLE = (tuple, frozenset)
_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


def absorb(old: Any, new: Any) -> bool:
    """Write the content of `new` into `old`. False: this is not possible, and nothing was written.

    Both must be of exactly the same type: a container of the standard library, an instance of a Python class, a
    function, a closure's cell, a numpy array of the same shape and dtype that may be written to, a torch tensor, ….
    """
    if old is new:
        return True
    if type(old) is not type(new):
        return False
    kind = type(old)
    if is_plain(old):
        return can_take(old, new) and absorb_tensor(old, new, shares=False)
    write = CONTAINERS.get(kind) or _WRITERS.get(kind) or writer_of(old)
    if write is not None:
        return write(old, new)
    if kind in _IMMUTABLE:
        return _immutable(old, new)
    if kind is object:
        return True
    if kind in _ATOMS:
        return False
    return absorb_handler(old, new) if issubclass(kind, logging.Handler) else _instance(old, new)


def take_class(value: Any, kind: type) -> None:
    """Give an object the class that the sender's object has by now: a program may assign `__class__`.

    A class with another layout is not taken: then the caller replaces the object, since `absorb` refuses it. Nor is a
    file's: the standard streams of the two sides are of different classes.
    """
    if type(value) is kind or issubclass(type(value), io.IOBase):
        return
    if is_by_statement(type(value)) and is_by_statement(kind):
        with contextlib.suppress(TypeError):
            object.__setattr__(value, "__class__", kind)


def can_be_written(value: Any) -> bool:
    """Whether a value is a standard container, an array or a tensor that `absorb` can write into."""
    if type(value) is collections.deque:
        return value.maxlen is None  # a placeholder needs the maximum length, which comes with the content
    if is_array(value) and not is_plain_array(value):
        return package_of(type(value)) == "numpy"  # the `__array_finalize__` of another class may use globals
    return type(value) in CONTAINERS or type(value) is bytearray or is_plain(value) or writer_of(value) is not None


# -- containers of the standard library ------------------------------------------------------------------------------


def _list(old: list[Any], new: list[Any]) -> bool:
    old[:] = new
    return True


def _replace(old: Any, new: Any) -> bool:
    """Replace the content of a dict, a set, or a similar container."""
    old.clear()
    old.update(new)
    return True


def _deque(old: collections.deque[Any], new: collections.deque[Any]) -> bool:
    if old.maxlen != new.maxlen:
        return False
    old.clear()
    old.extend(new)
    return True


def _default_dict(old: collections.defaultdict[Any, Any], new: collections.defaultdict[Any, Any]) -> bool:
    old.default_factory = new.default_factory
    return _replace(old, new)


def _random(old: random.Random, new: random.Random) -> bool:
    old.setstate(new.getstate())
    return True


def _text_file(old: Any, new: Any) -> bool:
    old.__setstate__(new.__getstate__())
    return True


def _simple_namespace(old: types.SimpleNamespace, new: types.SimpleNamespace) -> bool:
    return _replace(vars(old), vars(new))


# -- immutable containers ---------------------------------------------------------------------------------------------


def _immutable(old: Any, new: Any) -> bool:
    """Whether a tuple or a frozenset has the content of `new` already.

    Its items with an identity were written in place. An item without one, such as a block of a data frame, an index or
    a sparse matrix, is another object in each transfer, and may have changed: then the container has to be replaced.
    """
    if isinstance(old, frozenset):
        return bool(frozenset.__eq__(old, new) is True)
    return tuple.__len__(old) == tuple.__len__(new) and all(
        map(_is_as_before, tuple.__iter__(old), tuple.__iter__(new))
    )


def _is_as_before(old: Any, new: Any) -> bool:
    kind = type(old)
    if old is new or kind in _ATOMS:
        return True
    if kind is not type(new):
        return False
    if kind in _IMMUTABLE:
        return _immutable(old, new)
    if has_identity(kind):  # the receiver's own object could not be written into
        return False
    try:
        is_equal, is_nan = old == new, old != old and new != new  # noqa: PLR0124 - as only not-a-number is
    except BaseException as error:  # noqa: BLE001 - a library's comparison may raise anything, and that of an array has no truth
        pass_on(error)
        return False
    return type(is_equal).__name__ in ("bool", "bool_") and bool(is_equal or is_nan)  # a table compares cell by cell


# -- functions -------------------------------------------------------------------------------------------------------


def _cell(old: types.CellType, new: types.CellType) -> bool:
    try:
        old.cell_contents = new.cell_contents
    except ValueError:  # the new one is empty
        del old.cell_contents
    return True


def _function(old: types.FunctionType, new: types.FunctionType) -> bool:
    if is_compiled(old) and is_compiled(new):
        return write_compiled(old, new)
    if old.__globals__ is not new.__globals__ or len(old.__closure__ or ()) != len(new.__closure__ or ()):
        return False
    if any(mine is not its for mine, its in zip(old.__closure__ or (), new.__closure__ or (), strict=True)):
        return False
    for name in _OF_A_FUNCTION:
        setattr(old, name, getattr(new, name))
    return _replace(old.__dict__, new.__dict__)


_OF_A_FUNCTION = (
    *("__code__", "__defaults__", "__kwdefaults__", "__annotations__"),
    *("__name__", "__qualname__", "__doc__", "__module__"),
)


# -- instances -------------------------------------------------------------------------------------------------------


def _instance(old: Any, new: Any) -> bool:
    """Update an instance of a class: its content as a built-in container, its attributes, its slots."""
    kind = type(old)
    names, base = slots_of(kind), _base(kind)
    attributes = attributes_of(old)
    if (attributes is None and not names and base is None) or _has_state_in_c(kind):
        return False
    if hasattr(kind, "__del__"):  # the discarded object's `__del__` would release the shared content
        return False
    if base is not None and not base(old, new):
        return False
    if attributes is not None:
        fresh = attributes_of(new) or {}
        for name in names_deleted(old, fresh, {}):
            del attributes[name]
        attributes.update(fresh)
    for name in names:
        _slot(kind, name, old, new)
    return True


def _has_state_in_c(kind: type) -> bool:
    """Whether a type has an unknown base class written in C, which may have state outside of attributes."""
    return any(not is_by_statement(base) and base not in _BASES for base in kind.__mro__[:-1])


def _slot(kind: type, name: str, old: Any, new: Any) -> None:
    """Update one slot through its descriptor, because the class's `__setattr__` may refuse."""
    slot = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    if not isinstance(slot, types.MemberDescriptorType):
        return
    try:
        slot.__set__(old, slot.__get__(new))
    except AttributeError:  # not set in the new one
        try:
            slot.__delete__(old)
        except AttributeError:
            return


def _base(kind: type) -> Writer | None:
    """Return the function that writes an instance's content as a built-in container or as an exception."""
    for base in kind.__mro__:
        if base in _BASES:
            return _BASES[base]
    return None


def _as_list(old: list[Any], new: list[Any]) -> bool:
    list.__setitem__(old, slice(None), list(list.__iter__(new)))
    return True


def _as_dict(old: dict[Any, Any], new: dict[Any, Any]) -> bool:
    dict.clear(old)
    dict.update(old, dict.copy(new))
    return True


def _as_words(old: array.array[Any], new: array.array[Any]) -> bool:
    if old.typecode != new.typecode:
        return False
    try:
        array.array.__setitem__(old, slice(None), new)
    except BufferError:  # another length while a memory view exists
        return False
    return True


def _as_bytes(old: bytearray, new: bytearray) -> bool:
    try:
        bytearray.__setitem__(old, slice(None), new)
    except BufferError:  # another length while a memory view exists
        return False
    return True


def _partial(old: functools.partial[Any], new: functools.partial[Any]) -> bool:
    functools.partial.__setstate__(old, functools.partial.__reduce__(new)[2])  # type: ignore[attr-defined]  # in C
    return True


def _as_ordered(old: collections.OrderedDict[Any, Any], new: collections.OrderedDict[Any, Any]) -> bool:
    items = list(zip(dict.keys(new), dict.values(new), strict=True))
    collections.OrderedDict.clear(old)
    for key, value in items:
        collections.OrderedDict.__setitem__(old, key, value)
    return True


def _as_set(old: set[Any], new: set[Any]) -> bool:
    set.clear(old)
    set.update(old, set.copy(new))
    return True


def _as_exception(old: BaseException, new: BaseException) -> bool:
    old.args = new.args
    old.__cause__, old.__context__ = new.__cause__, new.__context__
    old.__suppress_context__ = new.__suppress_context__
    return True


def _same(_old: Any, _new: Any) -> bool:
    return True


_BASES: dict[type, Writer] = {
    collections.OrderedDict: _as_ordered,
    collections.defaultdict: _default_dict,
    dict: _as_dict,
    list: _as_list,
    set: _as_set,
    collections.deque: _deque,
    random.Random: _random,
    array.array: _as_words,
    bytearray: _as_bytes,
    functools.partial: _partial,
    type(functools.lru_cache(len)): _same,  # what it calls is a function with an identity of its own
    BaseException: _as_exception,
    **{
        kind: _as_exception
        for kind in vars(builtins).values()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    },
    tuple: _immutable,
    frozenset: _immutable,
    str: _same,
    bytes: _same,
    int: _same,
    float: _same,
}


CONTAINERS: dict[type, Writer] = {
    list: _list,
    dict: _replace,
    set: _replace,
    collections.deque: _deque,
    collections.OrderedDict: _replace,
    collections.defaultdict: _default_dict,
    collections.Counter: _replace,
}
"""Functions that write into a container, by exact type."""

_WRITERS: dict[type, Writer] = {
    array.array: _as_words,
    bytearray: _as_bytes,
    memoryview: is_same_view,
    **dict.fromkeys(MAPPING_VIEWS, is_view_of_same),
    **dict.fromkeys(ITERATORS, end_iterator),
    io.BytesIO: _text_file,
    io.StringIO: _text_file,
    random.Random: _random,
    types.CellType: _cell,
    types.FunctionType: _function,
    types.SimpleNamespace: _simple_namespace,
}


def placeholder(kind: Any) -> Any:
    """Return an empty object of a type, for a cycle that refers to the object before its content is loaded.

    Raises:
        TypeError: the type cannot create an object without arguments.
    """
    if kind is types.CellType:
        return types.CellType()
    if kind in CONTAINERS or kind is bytearray:
        return kind()
    return kind.__new__(kind)
