"""Update an object that the receiver has through the `__setstate__` of its class.

`__setstate__` may register the object elsewhere (a figure registers itself with its canvas), so it must be called on
the receiver's own object and not on a new object whose attributes are copied afterwards.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modal_gpu_magic.wire.pickles.types.added_attributes import add, names_deleted, set_state_and_added
from modal_gpu_magic.wire.pickles.types.figures import is_figure, set_figure
from modal_gpu_magic.wire.pickles.types.pictures import is_picture, set_picture
from modal_gpu_magic.wire.values.attributes import attributes_of

_NEW: Any = vars(copyreg)["__newobj__"]
"""Makes an object of a class without a `__reduce__` of its own."""

_PLAIN_PARTS = 3
"""Length of a reduction without items: callable, arguments, state."""


_SETTERS: tuple[tuple[Callable[[type], bool], Callable[[Any, Any], None]], ...] = (
    (is_figure, set_figure),
    (is_picture, set_picture),
)
"""Functions that set a state where `__setstate__` does more than that, each with the classes that need it."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """Represents the content of an object in a pickle."""

    value: Any


@dataclass(frozen=True, slots=True)
class Parts:
    """The reduction of an object.

    Attributes:
        make: the callable that creates the object.
        arguments: arguments of `make`.
        state: the argument of `__setstate__`; None: no state.
        added: attributes that the pickle of the class leaves out.
    """

    make: Callable[..., Any]
    arguments: tuple[Any, ...]
    state: Any
    added: dict[str, Any] | None = None

    def new(self) -> Any:
        """Create a new object with the state."""
        value = self.make(*self.arguments)
        if self.state is not None:
            self._set_state(value)
        if self.added:
            add(value, self.added)
        return value

    @property
    def is_whole(self) -> bool:
        """Whether the state has all content: other classes have content in the arguments."""
        is_plain = self.make is _NEW and len(self.arguments) == 1
        return is_plain or self._is_of_ctypes or self.state is not None

    @property
    def _is_of_ctypes(self) -> bool:
        """Whether ctypes makes the object: the state is the second argument."""
        return getattr(self.make, "__module__", "") == "_ctypes"

    def write(self, known: Any) -> None:
        """Set the state of an existing object."""
        attributes = attributes_of(known) or {}
        for name in self._deleted_from(known, attributes):
            del attributes[name]
        if self._is_of_ctypes:
            known.__setstate__(*self.arguments[1])
        elif self.state is not None:
            self._set_state(known)
        if self.added:
            add(known, self.added)

    def _deleted_from(self, known: Any, attributes: dict[str, Any]) -> list[str]:
        """Return the attributes of an existing object that the sender's object no longer has."""
        if self._is_of_ctypes:
            return [name for name in attributes if name not in self.arguments[1][0]]
        return names_deleted(known, self.state, self.added or {})

    def _set_state(self, value: Any) -> None:
        kind = type(value)
        setter = next((each for matches, each in _SETTERS if matches(kind)), None)
        if setter is None:
            value.__setstate__(self.state)
        else:
            setter(value, self.state)


def class_of(content: Any) -> Any:
    """Return the class of the object that a content makes: a reduction has the class as its first argument."""
    if type(content) is not Parts:
        return type(content)
    return content.arguments[0] if content.arguments else Parts


def takes_state(kind: type) -> bool:
    """Whether a class defines `__setstate__` and is no exception class."""
    return hasattr(kind, "__setstate__") and not issubclass(kind, BaseException)


def parts_of(reduced: tuple[Any, ...]) -> Any:
    """Return the reduction as `Parts`; the reduction itself if it has items in addition to a state."""
    make, arguments, *state = reduced[:_PLAIN_PARTS]
    more = [part for part in reduced[_PLAIN_PARTS:] if part is not None]
    if more == [set_state_and_added]:
        return Parts, (make, arguments, *state[0])
    if more and more[0] not in dict(_SETTERS).values():
        return reduced
    return Parts, (make, arguments, state[0] if state else None)
