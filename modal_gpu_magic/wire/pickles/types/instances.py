"""Pickle instances of the notebook's classes whose hooks would disturb pickle.

Pickle reads and sets an object's state through attribute access: a proxy forwards the access to its target, an
`AttrDict` looks up an item, a frozen class raises, a dict subclass with a limit runs its own `__setitem__`. These
instances are read and filled without calling the hooks.
"""

from __future__ import annotations

import collections
import contextlib
import copyreg
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types import cloudpickle_names
from modal_gpu_magic.wire.pickles.types.members import built_in_base, is_by_statement

if TYPE_CHECKING:
    from collections.abc import Callable

_OWN_WAYS = ("__getattr__", "__getattribute__", "__setattr__", "__class__")
"""Hooks of a class that change attribute access or the reported class."""

_ARGUMENTS = ("__getnewargs_ex__", "__getnewargs__")

_PLAIN = (object, type)

_READABLE = frozenset({str, tuple, list, dict, set, frozenset})
"""Types of `__slots__` that pickle can read."""


def needs_care(kind: type) -> bool:
    """Whether `reduce_instance` must pickle the instances of a class."""
    if not is_by_statement(kind) or kind in copyreg.dispatch_table or not _has_no_reduce(kind):
        return False
    if built_in_base(kind) in _FILLERS:
        return _is_of_notebook(kind)
    if _is_of_notebook(_definer(kind, "__new__")) and not _says_arguments(kind):
        return True  # pickle would call `__new__` without its arguments
    if any(type(each.__dict__.get("__slots__", ())) not in _READABLE for each in kind.__mro__):
        return True
    return any(_is_of_notebook(each) for name in _OWN_WAYS if (each := _definer(kind, name)) not in _PLAIN)


def reduce_instance(_: Any, instance: Any) -> Any:
    """Return the reduction of an instance: class, attributes, slots and items."""
    kind = type(instance)
    filler = _FILLERS.get(built_in_base(kind))
    content = None if filler is None else filler[0](instance)
    arguments: tuple[Any, ...] = _new_arguments(instance) if filler is None else ((),)
    state = (_own_state(instance), content)
    return instance_from, (kind, *arguments), state, None, None, set_instance


def instance_from(kind: type, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None) -> Any:
    """Return an empty instance.

    Args:
        kind: the class.
        arguments: arguments of `__new__`.
        keywords: keywords of the class's own `__new__`, maybe empty; None: call the `__new__` of the built-in base.
    """
    if keywords is None:
        return built_in_base(kind).__new__(kind, *arguments)
    return kind.__new__(kind, *arguments, **keywords)


def set_instance(instance: Any, state: tuple[Any, Any]) -> None:
    """Set the items of an instance, then its state."""
    its_own, content = state
    kind = type(instance)
    if content is not None:
        _FILLERS[built_in_base(kind)][1](instance, content)
    how, value = its_own
    if how == "own":
        _by_class(kind, "__setstate__")(instance, value)
        return
    attributes, slots = value
    if how == "itself":
        object.__setattr__(instance, "__dict__", instance)
    elif attributes:
        object.__getattribute__(instance, "__dict__").update(attributes)
    for name, each in slots.items():
        object.__setattr__(instance, name, each)


def _own_state(instance: Any) -> tuple[str, Any]:
    """Return the kind of state and the state for `set_instance`: from the class's hooks, or attributes and slots."""
    kind = type(instance)
    get_state, set_state = _by_class(kind, "__getstate__"), _by_class(kind, "__setstate__")
    attributes = object.__getattribute__(instance, "__dict__") if kind.__dictoffset__ else {}
    if get_state is not None or set_state is not None:
        value = get_state(instance) if get_state is not None else _default_state(instance, attributes)
        return ("own" if set_state is not None else "attributes"), (value if set_state is not None else _pair(value))
    if attributes is instance:
        return "itself", ({}, {})
    return "attributes", (dict(attributes), slots_in(instance))


def _pair(state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the result of the class's `__getstate__` into attributes and slots."""
    if isinstance(state, tuple) and len(state) == 2:  # noqa: PLR2004 - as pickle has it
        return dict(state[0] or {}), dict(state[1] or {})
    return dict(state or {}), {}


def _default_state(instance: Any, attributes: dict[str, Any]) -> Any:
    slots = slots_in(instance)
    return (dict(attributes) or None, slots) if slots else dict(attributes)


def slots_in(instance: Any) -> dict[str, Any]:
    """Return the values of the set slots. Found by descriptor, because `__slots__` may be an exhausted iterator."""
    found = {}
    for name, slot in _slots(type(instance)):
        with contextlib.suppress(AttributeError):  # the slot was never set
            found[name] = slot.__get__(instance)
    return found


def set_slots(instance: Any, values: dict[str, Any]) -> None:
    """Set the slots of an instance, and delete the others, past the `__setattr__` of the class."""
    for name, slot in _slots(type(instance)):
        if name in values:
            slot.__set__(instance, values[name])
        else:
            with contextlib.suppress(AttributeError):  # it is not set
                slot.__delete__(instance)


_SLOTS: dict[type, tuple[tuple[str, Any], ...]] = {}


def _slots(kind: type) -> tuple[tuple[str, Any], ...]:
    """Return the slots of a class by name: they are made with the class."""
    found = _SLOTS.get(kind)
    if found is None:
        named = (item for each in filter(is_by_statement, kind.__mro__) for item in each.__dict__.items())
        found = tuple((name, value) for name, value in named if type(value) is types.MemberDescriptorType)
        _SLOTS[kind] = found
    return found


def _new_arguments(instance: Any) -> tuple[Any, ...]:
    """Return arguments and keywords for the class's own `__new__`, or only arguments for its base's."""
    kind = type(instance)
    if _says_arguments(kind):
        with_keywords, plain = (_by_class(kind, name) for name in _ARGUMENTS)
        return tuple(with_keywords(instance)) if with_keywords is not None else (plain(instance), {})
    base = built_in_base(kind)
    return (base.__getnewargs__(instance) if hasattr(base, "__getnewargs__") else (),)


def _says_arguments(kind: type) -> bool:
    """Whether a class written in Python defines `__getnewargs_ex__` or `__getnewargs__`."""
    return any(is_by_statement(_definer(kind, name)) for name in _ARGUMENTS)


def _by_class(kind: type, name: str) -> Any:
    """Return a method from the class itself, not through the instance; None: only `object` defines the method."""
    definer = _definer(kind, name)
    if definer in (object, None):
        return None
    found = definer.__dict__[name]
    return found.__get__(None, kind) if isinstance(found, staticmethod | classmethod) else found


def _definer(kind: type, name: str) -> Any:
    return next((each for each in kind.__mro__ if name in each.__dict__), object)


def _is_of_notebook(kind: type) -> bool:
    return is_by_statement(kind) and not cloudpickle_names.goes_by_name(kind)


def _has_no_reduce(kind: type) -> bool:
    return _definer(kind, "__reduce_ex__") is object and _definer(kind, "__reduce__") in _WITH_REDUCE


def _fill_deque(instance: Any, content: tuple[list[Any], int | None]) -> None:
    collections.deque.__init__(instance, *content)


def _fill_default_dict(instance: Any, content: tuple[dict[Any, Any], Any]) -> None:
    collections.defaultdict.__init__(instance, content[1])
    dict.update(instance, content[0])


def _fill_ordered(instance: Any, content: list[tuple[Any, Any]]) -> None:
    for key, value in content:
        collections.OrderedDict.__setitem__(instance, key, value)


_FILLERS: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
    dict: (lambda it: dict(dict.items(it)), dict.update),
    list: (lambda it: list(list.__iter__(it)), list.extend),
    set: (lambda it: list(set.__iter__(it)), set.update),
    collections.deque: (lambda it: (list(collections.deque.__iter__(it)), it.maxlen), _fill_deque),
    collections.defaultdict: (lambda it: (dict(dict.items(it)), it.default_factory), _fill_default_dict),
    collections.OrderedDict: (lambda it: list(collections.OrderedDict.items(it)), _fill_ordered),
}
"""By built-in base class: the function that reads the items of an instance, and the function that sets them."""

_WITH_REDUCE = frozenset({object, collections.Counter, *_FILLERS})
"""Classes whose `__reduce__` is built in."""
