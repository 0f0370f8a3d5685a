"""Pickle classes of the notebook by value: with slots and all attributes, and without calling their hooks again.

cloudpickle 3.1.3 calls the metaclass again without the keywords of the class statement, loses slots, leaves out an
attribute that is the same object as the base's, loses the qualified name, and never deletes an attribute.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import operator
import sys
import types
from typing import TYPE_CHECKING, Any, cast

from modal_gpu_magic.wire.pickles.types import cloudpickle_names, parametrized
from modal_gpu_magic.wire.pickles.types.iterators import ITERATORS
from modal_gpu_magic.wire.pickles.types.mapping_views import MAPPING_VIEWS
from modal_gpu_magic.wire.pickles.types.members import is_by_statement
from modal_gpu_magic.wire.values.kinds import module_of
from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOOK = "__init_subclass__"

_OF_THE_LAYOUT = frozenset({"__dict__", "__weakref__"})
"""Descriptors that Python creates with the class; a property of such a name is the class's own."""

_OF_THIS_PROCESS = frozenset({"__slotnames__", "_abc_impl", "__annotate_func__", "__annotations_cache__"})
"""Entries of a class's `__dict__` that each side creates by itself."""

_INITIAL = ("__module__", "__orig_bases__")
"""Attributes that a class needs when it is created, because bases from `typing` read them."""

_CAN_BE_SET = frozenset(
    {"__module__", "__doc__", "__annotations__", "__annotate__", "__abstractmethods__", "__type_params__"}
)
"""Names for which `type` has a descriptor and which can be set to any value later."""

_OF_THE_MEMBERS = frozenset(
    {"_member_names_", "_member_map_", "_value2member_map_", "_unhashable_values_", "_hashable_values_"}
)
"""Attributes with an enum's members, which do not change after the class is created."""


def reduce_class(_: Any, kind: type) -> Any:
    """Return the reduction of a class that cannot be imported; NotImplemented for others."""
    if cloudpickle_names.goes_by_name(kind) or kind in _BUILT_IN:
        return NotImplemented
    if not is_by_statement(kind):
        return _reduce_nameless(kind)
    if _is_array_of_ctypes(kind):
        return operator.mul, (kind._type_, kind._length_)  # type: ignore[attr-defined]  # attributes of such a class
    if parametrized.is_parametrized(kind):
        return parametrized.reduce_kind(kind)
    metaclass: Any = type(kind)
    of_library = next(each for each in metaclass.__mro__ if _is_of_library(each))
    made_by = (
        type if issubclass(metaclass, enum.EnumMeta) else of_library
    )  # the members of an enum are not created again
    definition = kind.__name__, kind.__bases__, _initial_attributes(kind)
    arguments = metaclass, made_by, definition, _hooked(kind), cloudpickle_names.id_of(kind)
    state = kind.__qualname__, _attributes(kind), _registered(kind)
    return class_from, arguments, state, None, None, set_attributes


def _reduce_nameless(kind: type) -> Any:
    """Return the reduction of a type written in C that its module does not export, such as ctypes' metaclasses."""
    if _NAMELESS.get(kind.__name__) is kind:
        return nameless_type, (kind.__name__,)
    ctypes = sys.modules.get("ctypes")
    shown = [] if ctypes is None else [ctypes.Structure, ctypes.Union, ctypes.Array]
    return next(((type, (each,)) for each in shown if type(each) is kind), NotImplemented)


def nameless_type(name: str) -> type:
    """Return the type of an iterator or of a view of a dict."""
    return _NAMELESS[name]


_NAMELESS = {kind.__name__: kind for kind in (*MAPPING_VIEWS, *ITERATORS)}


def _is_array_of_ctypes(kind: type) -> bool:
    """Whether a class was made by `c_int * 3`: ctypes keeps one for each type and length."""
    ctypes, array = sys.modules.get("ctypes"), cast("Any", kind)
    return ctypes is not None and issubclass(kind, ctypes.Array) and array is array._type_ * array._length_


def _is_of_library(kind: type) -> bool:
    return not is_by_statement(kind) or cloudpickle_names.goes_by_name(kind)


def class_from(
    metaclass: type,
    made_by: type,
    definition: tuple[str, tuple[type, ...], dict[str, Any]],
    hooked: type | None,
    tracker_id: str,
) -> type:
    """Return this side's class of an id, or a new class that has only its slots so far.

    Args:
        metaclass: the metaclass of the class.
        made_by: the first importable class among the metaclass and its bases; the classes before it are code of the
            notebook, which ran when the class was defined.
        definition: name, bases, and the attributes that the class needs when it is created.
        hooked: the class of the notebook whose `__init_subclass__` ran at the definition; None: there is none.
        tracker_id: cloudpickle's id of the class, the same on both sides.
    """
    known = cloudpickle_names.class_of(tracker_id)
    if known is not None:
        return known
    name, bases, initial = definition
    made: type
    with _without_hook(hooked):
        try:
            made = made_by.__new__(metaclass, name, bases, dict(initial))
            if _begins_in_c(made_by):
                made_by.__init__(made, name, bases, dict(initial))  # type: ignore[misc]  # of a metaclass
        except BaseException as error:  # noqa: BLE001 - a library's metaclass that needs the keywords of the class statement
            pass_on(error)
            made = type.__new__(metaclass, name, bases, dict(initial))
    return cloudpickle_names.track(tracker_id, made)


def _begins_in_c(metaclass: Any) -> bool:
    """Whether a metaclass has an `__init__` written in C: ctypes' lay out a class there from Python 3.13 on."""
    begin = metaclass.__init__
    return type(begin) is types.WrapperDescriptorType and begin is not type.__init__


def set_attributes(kind: type, state: tuple[str, dict[str, Any], list[type]]) -> None:
    """Set the attributes of the sent class and delete attributes that the sent class no longer has."""
    qualified, attributes, registered = state
    fixed = _fixed(kind)
    for name in [name for name in kind.__dict__ if name not in attributes and name not in fixed]:
        with contextlib.suppress(AttributeError, TypeError):  # an attribute that the metaclass protects
            type.__delattr__(kind, name)
    for name, value in attributes.items():
        if name not in fixed and kind.__dict__.get(name, kind) is not value:
            _set(kind, name, value)
    if "__firstlineno__" in attributes:  # Python 3.13 deletes it whenever another attribute is set
        _set(kind, "__firstlineno__", attributes["__firstlineno__"])
    _set(kind, "__qualname__", qualified)
    for subclass in registered:
        kind.register(subclass)  # type: ignore[attr-defined]  # it is an abstract class


def _set(kind: type, name: str, value: Any) -> None:
    try:
        type.__setattr__(kind, name, value)  # a metaclass's own `__setattr__` may forbid it
    except TypeError:  # a metaclass written in C, whose own method must set the attribute
        setattr(kind, name, value)


def _fixed(kind: type) -> frozenset[str]:
    """Return the names in a class's `__dict__` that must not be set or deleted."""
    once = frozenset[str]()
    if isinstance(kind, enum.EnumMeta) and "_member_map_" in kind.__dict__:
        once = _OF_THE_MEMBERS | kind.__dict__["_member_map_"].keys()
    fields = _fields(kind)
    if fields:
        once = frozenset((*fields, "_fields_", "_anonymous_", "_pack_"))
    return frozenset((*_layout(kind), *_taken(kind))) | _OF_THIS_PROCESS | once


def _layout(kind: type) -> list[str]:
    """Return the names of the descriptors that Python created for a class's slots, `__dict__` and `__weakref__`."""
    return [
        name
        for name, value in kind.__dict__.items()
        if (type(value) is types.MemberDescriptorType and value.__objclass__ is kind)
        or (type(value) is types.GetSetDescriptorType and name in _OF_THE_LAYOUT)
    ]


def _initial_attributes(kind: type) -> dict[str, Any]:
    """Return the attributes that a class needs when it is created."""
    attributes = {name: kind.__dict__[name] for name in _INITIAL if name in kind.__dict__}
    attributes.update({name: kind.__dict__[name] for name in _taken(kind)})
    if "__slots__" in kind.__dict__:
        attributes["__slots__"] = tuple(
            sorted(_layout(kind))
        )  # the given value may be an exhausted iterator or changed
    return {"".join(name): value for name, value in attributes.items()}


def _taken(kind: type) -> list[str]:
    """Return the names in a class's `__dict__` that cannot be set, because the metaclass has a data descriptor."""
    layout = _layout(kind)
    return [name for name in kind.__dict__ if name not in layout and _is_taken(type(kind), name)]


def _is_taken(metaclass: type, name: str) -> bool:
    if name in _CAN_BE_SET:
        return False
    found = next((each.__dict__[name] for each in metaclass.__mro__ if name in each.__dict__), None)
    return hasattr(type(found), "__set__") or hasattr(type(found), "__delete__")


def _attributes(kind: type) -> dict[str, Any]:
    """Return a class's own attributes in order, each name as a new string.

    Names in a class are interned, names in a stream are not: without new strings the pickle of a received class would
    differ from the pickle that was received.
    """
    left_out = _OF_THIS_PROCESS | frozenset((*_layout(kind), *_fields(kind)))
    attributes = {"".join(name): value for name, value in kind.__dict__.items() if name not in left_out}
    if isinstance(kind, enum.EnumMeta) and "_value2member_map_" in attributes:
        named = kind.__dict__["_member_map_"].values()  # the others are combinations of flags, created on demand
        found = attributes["_value2member_map_"].items()
        attributes["_value2member_map_"] = {value: each for value, each in found if any(each is one for one in named)}
    return attributes


def _fields(kind: type) -> list[str]:
    """Return the names of the descriptors that ctypes creates from `_fields_`."""
    return [name for name, value in kind.__dict__.items() if type(value).__name__ == "CField"]


def _registered(kind: type) -> list[type]:
    if not isinstance(kind, abc.ABCMeta):
        return []
    found = (reference() for reference in abc._get_dump(kind)[0])  # type: ignore[attr-defined]  # noqa: SLF001 - as cloudpickle
    return sorted((each for each in found if each is not None), key=lambda each: (module_of(each), each.__qualname__))


def _hooked(kind: type) -> type | None:
    """Return the class of the notebook whose `__init_subclass__` ran when `kind` was defined; None: there is none."""
    found = next(each for each in kind.__mro__[1:] if _HOOK in each.__dict__) if kind.__mro__[1:] else object
    return None if cloudpickle_names.goes_by_name(found) else found


@contextlib.contextmanager
def _without_hook(hooked: type | None) -> Iterator[None]:
    """Replace `__init_subclass__` inside the `with` block; Python always calls it when a subclass is created."""
    if hooked is None or _HOOK not in hooked.__dict__:
        yield
        return
    hook = hooked.__dict__[_HOOK]
    type.__setattr__(hooked, _HOOK, classmethod(_do_nothing))
    try:
        yield
    finally:
        type.__setattr__(hooked, _HOOK, hook)


def _do_nothing(_: type, /, **__: Any) -> None:
    """Replace an `__init_subclass__` that ran when the class was defined."""


_BUILT_IN = frozenset(
    {type(None), type(...), type(NotImplemented), *(each for each in vars(types).values() if type(each) is type)}
)
"""Built-in types that pickle cannot find by name in their module, and that every process has."""
