"""Pickle exceptions without calling their `__init__`, which would format a formatted message again.

The traceback is not sent. Cause and context are sent if they can be pickled.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import types
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.kinds import module_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.wire.pickles.protocol import Pickler

LEFT_OUT: Final = frozenset(
    {"__cause__", "__context__", "__suppress_context__", "__traceback__", "args"}
    | {"exceptions", "message"}  # arguments of an exception group's constructor
    | {"obj"}  # of an AttributeError: any object, which pickle leaves out as well
)
"""Fields of Python's own exceptions that are sent separately, or not sent."""

SHOWN_BY: Final = "_render_traceback_"
"""Attribute in which `session.run.conclude` sets the function that renders the error in IPython."""

_DESCRIPTORS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
_trying = threading.local()


def reduce_exception(pickler: Pickler, error: BaseException) -> Any:
    """Return the reduction of an exception: the class's own if there is one, with cause and context."""
    links = _links(pickler, error)
    if _reduces_itself(type(error)):
        own: Any = error.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        state = own[2] if len(own) > len(("made", "arguments")) else None
        return own[0], own[1], (state, links), None, None, set_own_state
    attributes = {name: value for name, value in vars(error).items() if not _is_ours(name, value)}
    state = error.args, attributes, dict(_fields(error)), links
    return new_exception, (type(error), _arguments(error)), state, None, None, set_state


def new_exception(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    """Return an exception without running code of its class."""
    base = _builtin(kind)
    try:
        return base.__new__(kind, *arguments)
    except TypeError:  # a class written in C that extends the built-in one
        return kind.__new__(kind, *arguments)


def set_state(error: BaseException, state: tuple[Any, dict[str, Any], dict[str, Any], tuple[Any, ...]]) -> None:
    """Set arguments, attributes, fields, cause and context of an exception."""
    arguments, attributes, fields, links = state
    error.args = arguments
    vars(error).update(attributes)
    for name, value in fields.items():
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # a read-only field
            object.__setattr__(error, name, value)
    _set_links(error, links)


def set_own_state(error: BaseException, state: tuple[Any, tuple[Any, ...]]) -> None:
    """Set the state as pickle does for a class with its own reduction, then cause and context."""
    own, links = state
    if own is not None:
        error.__setstate__(own)
    _set_links(error, links)


def _set_links(error: BaseException, links: tuple[Any, ...]) -> None:
    error.__cause__, error.__context__, error.__suppress_context__ = links


def _links(pickler: Pickler, error: BaseException) -> tuple[Any, ...]:
    """Return cause and context, each None if it cannot be pickled, and `__suppress_context__`."""
    cause, context = (
        each if each is None or _travels(pickler, each) else None for each in (error.__cause__, error.__context__)
    )
    return cause, context, error.__suppress_context__


def _travels(pickler: Pickler, error: BaseException) -> bool:
    """Whether an exception can be pickled. Inside such a trial, the links of the chain are not tried again."""
    if getattr(_trying, "now", False):
        return True
    _trying.now = True
    try:
        return pickler.travels(error)
    finally:
        _trying.now = False


def _builtin(kind: type[BaseException]) -> type[BaseException]:
    """Return the nearest built-in class in an exception class's bases."""
    return next(base for base in kind.__mro__ if module_of(base) == "builtins")


def _reduces_itself(kind: type[BaseException]) -> bool:
    own = (vars(base) for base in kind.__mro__ if module_of(base) != "builtins")
    return any("__reduce__" in names or "__reduce_ex__" in names for names in own)


def _arguments(error: BaseException) -> tuple[Any, ...]:
    """Return the arguments for the built-in class's `__new__`."""
    group = getattr(error, "exceptions", None)
    if isinstance(group, tuple) and hasattr(_builtin(type(error)), "subgroup"):
        return error.message, list(group)  # type: ignore[attr-defined]  # exception groups exist from Python 3.11 on
    return error.args


def _fields(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield the slots of an exception and the fields of built-in classes: `errno`, `code`, `lineno`."""
    for base in type(error).__mro__:
        is_pythons = module_of(base) == "builtins"
        apart = {"__dict__", "__weakref__", *(LEFT_OUT if is_pythons else ())}
        for name, descriptor in vars(base).items():
            if isinstance(descriptor, _DESCRIPTORS) and name not in apart:
                with contextlib.suppress(AttributeError, TypeError):  # the field has no value
                    value = descriptor.__get__(error)
                    if not (is_pythons and value is None):  # `OSError` would show an explicit `None`
                        yield name, value


def _is_ours(name: str, value: Any) -> bool:
    return name == SHOWN_BY and str(getattr(value, "__module__", "")).startswith("modal_gpu_magic.")
