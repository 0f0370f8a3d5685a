"""Content for an object that the receiver has, of a class that takes its state in itself: `__setstate__`.

Such a class may tell others of the object while it does so (a figure its canvas), so the receiver's own object has to
take the state in, and not a new one whose attributes the object gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modal_gpu_magic.wire.pickles.update_in_place import tells_all
from modal_gpu_magic.wire.values.attributes import attributes_of

_PLAIN_PARTS = 3
"""What `__reduce__` gives for an object without items: how to make the object, from what, its state."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """Stands in a pickle for an object, as the content of that object."""

    value: Any


@dataclass(frozen=True, slots=True)
class Parts:
    """An object as its class tells pickle."""

    make: Callable[..., Any]
    arguments: tuple[Any, ...]
    state: Any

    def new(self) -> Any:
        """The object, made anew."""
        value = self.make(*self.arguments)
        if self.state is not None:
            value.__setstate__(self.state)
        return value

    def write(self, known: Any) -> None:
        """Let an object take the state in."""
        if self.state is None:
            return
        attributes = attributes_of(known)
        if attributes is not None and type(self.state) is dict and tells_all(type(known)):
            for name in [name for name in attributes if name not in self.state]:
                del attributes[name]
        known.__setstate__(self.state)


def takes_state(kind: type) -> bool:
    """Whether objects of a class take their state in by a method of the class."""
    return hasattr(kind, "__setstate__") and not issubclass(kind, BaseException)


def parts_of(reduced: tuple[Any, ...]) -> Any:
    """The pickle of an object's parts; the object's own if the object has items beside its state."""
    if any(part is not None for part in reduced[_PLAIN_PARTS:]):
        return reduced
    make, arguments, *state = reduced
    return Parts, (make, arguments, state[0] if state else None)
