"""How single types are pickled where neither pickle nor cloudpickle does it as a notebook needs it: one table.

Arrays go out of band whatever their strides. Things that pickle knows only by the name of a variable (`lru_cache`d
functions, `NewType`) go by value: that variable is the notebook's. torch's types are in `wire.pickles.types.tensors`.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import types
import typing
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.rules import Rules
from modal_gpu_magic.wire.pickles.types import arrays, tensors
from modal_gpu_magic.wire.pickles.types.generators import generator_reducers
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, value_there

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.wire.pickles.protocol import Pickler

    Reducer = Callable[[Pickler, Any], Any]


@dataclass(frozen=True, slots=True)
class Bare:
    """A value under another identity: pickles as the value itself, also where that stands for something else."""

    value: Any
    alone: bool = False
    """A tensor that is a small part of its storage goes without the rest."""


_ANY_FILE = "<dynamic-code>"


def reducers() -> dict[type, Reducer | None]:
    """The types reduced here. Those of libraries only if the library is loaded: else there is no value of them."""
    table = Rules(_ALWAYS | {type(sys.stdout): _stream, type(sys.stderr): _stream, **tensors.reducers()})
    table.update(generator_reducers())
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "memmap"):
        table[numpy.ndarray] = arrays.reduce_array
        table[numpy.memmap] = arrays.reduce_memmap
        table[numpy.ma.MaskedArray] = arrays.reduce_masked
    return table


def _bare(pickler: Pickler, bare: Bare) -> Any:
    value = bare.value
    if isinstance(value, bytes | bytearray):
        return type(value), (pickle.PickleBuffer(value),)
    if bare.alone and tensors.is_plain(value):
        return tensors.reduce_tensor(pickler, value, alone=True)
    return pickler.reduce(value)


def _deferred_import(pickler: Pickler, value: DeferredImport) -> Any:
    pickler.modules.update(deferral(value).statement.modules)
    return value.__reduce__()


def _remote(pickler: Pickler, value: RemoteValue) -> Any:
    its = facts(value)
    if pickler.session is not None and its.session != pickler.session:
        raise pickle.PicklingError(f"{its.name} lives in session {its.session}; {its.name}.fetch() it first")
    return value_there, (pickler.namespace, its.name)


def _stream(_: Pickler, stream: Any) -> Any:
    """The notebook's standard streams are those of the other side; what another file holds does not travel."""
    for name in ("stdout", "stderr"):
        if stream is getattr(sys, name) or stream is getattr(sys, f"__{name}__"):
            return getattr, (sys, name)
    if isinstance(stream, io.TextIOWrapper):  # cloudpickle would read the whole file
        raise pickle.PicklingError(f"cannot pickle '{io.TextIOWrapper.__module__}.TextIOWrapper' object")
    return NotImplemented


def _weak(_: Pickler, weak: Any) -> Any:
    """What it refers to may live by other references only, which the other side need not have.

    Raises:
        pickle.PicklingError: always. pickle itself would send a proxy as what the proxy stands for.
    """
    raise pickle.PicklingError(f"cannot pickle 'weakref.{type(weak).__name__}' object")


def _code(pickler: Pickler, code: types.CodeType) -> Any:
    """From 3.1.3 on cloudpickle calls every file by one name; tracebacks and sources know a cell by its own."""
    made, arguments = pickler.dispatch_table[types.CodeType](code)
    return made, tuple(code.co_filename if argument == _ANY_FILE else argument for argument in arguments)


def _lru_cached(_: Pickler, cached: Any) -> Any:
    if _is_importable(cached):
        return NotImplemented
    return lru_cached, (cached.__wrapped__, cached.cache_parameters())


def lru_cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """A function under `functools.lru_cache`, its cache empty."""
    return functools.lru_cache(**parameters)(function)


def _cached_property(_: Pickler, prop: functools.cached_property[Any]) -> Any:
    """Without its lock, which it has up to Python 3.11."""
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
    """What the statement `type name[parameters] = value` makes (Python 3.12)."""
    kind: Any = typing.__dict__["TypeAliasType"]
    return kind(name, value, type_params=parameters)


def _is_importable(value: Any) -> bool:
    """Whether an object is found by its name in a module that is not the notebook."""
    module = getattr(value, "__module__", None) or "__main__"
    found: Any = None if module == "__main__" else sys.modules.get(module)
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
    functools.cached_property: _cached_property,
    typing.NewType: _new_type,
    typing.ParamSpec: _named_parameter,
    **({typing.__dict__[name]: _named_parameter for name in ("TypeVarTuple",) if name in typing.__dict__}),
    **({typing.__dict__[name]: _alias for name in ("TypeAliasType",) if name in typing.__dict__}),
}
