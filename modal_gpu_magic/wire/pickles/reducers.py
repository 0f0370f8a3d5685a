"""The table of reducers for types that pickle and cloudpickle do not handle as a notebook needs.

Arrays go out of band whatever their strides. Objects that pickle handles only by variable name (`lru_cache`d functions,
`NewType`) are pickled by value, because the variable is the notebook's. `wire.pickles.types` has the larger reducers.
"""

from __future__ import annotations

import functools
import io
import pickle
import re
import sys
import types
import typing
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.rules import Rules
from modal_gpu_magic.wire.pickles.types import arrays, tensors
from modal_gpu_magic.wire.pickles.types.functions import reduce_generic_method
from modal_gpu_magic.wire.pickles.types.generators import generator_reducers
from modal_gpu_magic.wire.pickles.types.mapping_views import MAPPING_VIEWS, reduce_mapping_view
from modal_gpu_magic.wire.pickles.types.matches import reduce_match
from modal_gpu_magic.wire.pickles.types.memory_views import reduce_memory_view
from modal_gpu_magic.wire.pickles.types.rebuilt import rebuilt_types
from modal_gpu_magic.wire.process.own_functions import with_file
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.library_modules import is_loaded
from modal_gpu_magic.wire.values.reasons import RefusedError
from modal_gpu_magic.wire.values.remote import (
    RemoteValue,
    facts,
    held_name,
    is_lost,
    itself,
    own_of,
    remote_value_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.wire.pickles.protocol import Pickler

    Reducer = Callable[[Pickler, Any], Any]


@dataclass(frozen=True, slots=True)
class Bare:
    """Wraps a value to give it another identity: pickled as the value, past tokens and numbers.

    Attributes:
        value: the value.
        alone: pickle a tensor that is a small part of its storage without the rest of the storage.
    """

    value: Any
    alone: bool = False


def reducers() -> Rules:
    """Return the reducers by type. Types of a library are included only if the library is imported."""
    streams = (getattr(sys, name, None) for name in ("stdout", "stderr"))  # a cell may delete them
    table = Rules(_ALWAYS | {type(each): _stream for each in streams if each is not None} | tensors.reducers())
    table.update(generator_reducers() | rebuilt_types())
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "ndarray"):
        table[numpy.ndarray] = arrays.reduce_array
    return table


def _bare(pickler: Pickler, bare: Bare) -> Any:
    value = bare.value
    if type(value) in (bytes, bytearray):
        return type(value), (pickle.PickleBuffer(value),)
    if bare.alone and tensors.is_plain(value):
        return tensors.reduce_tensor(pickler, value, alone=True)
    return pickler.reduce(value)


def _deferred_import(pickler: Pickler, value: DeferredImport) -> Any:
    pickler.modules.update(deferral(value).statement.modules)
    return value.__reduce__()


def _remote(pickler: Pickler, value: RemoteValue) -> Any:
    its = facts(value)
    if own := own_of(value):  # the receiver has the object, by its token
        return itself, own
    if is_lost(value):
        raise RefusedError(value, "a lost value", f"{its.why}; run the cell that made `{its.name}` again")
    if pickler.session is not None and its.session != pickler.session:
        raise RefusedError(value, f"a value of session {its.session!r}", "replace it by what its `fetch()` returns")
    return remote_value_of, (pickler.namespace, held_name(its.held) if its.held else its.name)


def _stream(_: Pickler, stream: Any) -> Any:
    """Pickle the notebook's standard streams as the receiver's own; the content of another file is not sent."""
    for name in ("stdout", "stderr"):
        if stream is getattr(sys, name, None) or stream is getattr(sys, f"__{name}__"):
            return getattr, (sys, name)
    if is_a(stream, io.TextIOWrapper):  # cloudpickle would read the whole file
        raise pickle.PicklingError(f"cannot pickle '{io.TextIOWrapper.__module__}.TextIOWrapper' object")
    return NotImplemented


def _weak(_: Pickler, weak: Any) -> Any:
    """Refuse a weak reference: only other references keep its object alive, and the receiver may lack those.

    Raises:
        pickle.PicklingError: always. pickle itself would send the object of a proxy.
    """
    raise pickle.PicklingError(f"cannot pickle 'weakref.{type(weak).__name__}' object")


def _code(pickler: Pickler, code: types.CodeType) -> Any:
    """Keep the file name of code, which tracebacks need; cloudpickle from 3.1.3 on replaces every name by one."""
    made, arguments = pickler.dispatch_table[types.CodeType](code)
    return made, with_file(arguments, code.co_filename)


def _lru_cached(_: Pickler, cached: Any) -> Any:
    if _is_importable(cached):
        return NotImplemented
    attributes = {name: value for name, value in vars(cached).items() if name not in _OF_EVERY_CACHE}
    made = lru_cached, (cached.__wrapped__, cached.cache_parameters())
    return (*made, attributes) if attributes else made


_OF_EVERY_CACHE = frozenset({"__wrapped__", "cache_parameters", *functools.WRAPPER_ASSIGNMENTS})
"""Attributes that `lru_cache` sets."""


def lru_cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Return a function under `functools.lru_cache` with an empty cache."""
    return functools.lru_cache(**parameters)(function)


def _cached_property(_: Pickler, prop: functools.cached_property[Any]) -> Any:
    """Pickle without the lock, which a `cached_property` has up to Python 3.11."""
    return functools.cached_property, (prop.func,), {"attrname": prop.attrname}


def _new_type(_: Pickler, new: Any) -> Any:
    if _is_importable(new):
        return NotImplemented
    return typing.NewType, (new.__name__, new.__supertype__), {"__module__": new.__module__}


def _named_parameter(_: Pickler, parameter: Any) -> Any:
    return NotImplemented if _is_importable(parameter) else (type(parameter), (parameter.__name__,))


def _alias(_: Pickler, alias: Any) -> Any:
    if _is_importable(alias):
        return NotImplemented
    return alias_type, (alias.__name__, alias.__value__, alias.__type_params__)


def alias_type(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    """Return the alias that the statement `type name[parameters] = value` creates (Python 3.12)."""
    kind: Any = typing.__dict__["TypeAliasType"]
    return kind(name, value, type_params=parameters)


def _is_importable(value: Any) -> bool:
    """Whether an object can be found by its name in a module other than the notebook."""
    module = getattr(value, "__module__", None) or "__main__"
    found: Any = sys.modules[module] if module != "__main__" and is_loaded(module) else None
    for part in str(getattr(value, "__qualname__", value.__name__)).split("."):
        found = getattr(found, part, None)
    return found is value


_ALWAYS: dict[type, Reducer] = {
    Bare: _bare,
    RemoteValue: _remote,
    DeferredImport: _deferred_import,
    io.TextIOWrapper: _stream,
    types.CodeType: _code,
    weakref.ProxyType: _weak,
    weakref.CallableProxyType: _weak,
    weakref.WeakKeyDictionary: _weak,
    weakref.WeakValueDictionary: _weak,
    type(functools.lru_cache(_is_importable)): _lru_cached,
    memoryview: reduce_memory_view,
    re.Match: reduce_match,
    **dict.fromkeys(MAPPING_VIEWS, reduce_mapping_view),
    functools.cached_property: _cached_property,
    functools.singledispatchmethod: reduce_generic_method,
    typing.NewType: _new_type,
    typing.ParamSpec: _named_parameter,
    **({typing.__dict__[name]: _named_parameter for name in ("TypeVarTuple",) if name in typing.__dict__}),
    **({typing.__dict__[name]: _alias for name in ("TypeAliasType",) if name in typing.__dict__}),
}
