"""Values that the container holds for remote values of the notebook, whatever their names are bound to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.values.remote import held_in, held_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class HeldValues:
    """The held values by their placeholder names.

    The notebook refers to a remote value by more than its name: by another name, in a list, in its outputs. A cell
    that binds the name again, as natively, takes the value from none of these.

    Args:
        namespace: the variables of the session.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._values: dict[str, Any] = {}

    def values(self) -> dict[str, Any]:
        """Return the values by their placeholder names."""
        return dict(self._values)

    def note(self, holds: Iterable[tuple[int, str]], released: Iterable[int]) -> None:
        """Hold values that are bound to names, and give up others.

        Args:
            holds: numbers of values, with their names. A number that is known keeps its value.
            released: numbers of values that the notebook has given up.
        """
        for number, name in holds:
            if name in self._namespace:
                self._values.setdefault(held_name(number), self._namespace[name])
        for number in released:
            self._values.pop(held_name(number), None)

    def bind(self, aliases: Iterable[tuple[str, int]]) -> frozenset[str]:
        """Bind names to held values, by their numbers; return the names whose values are not held."""
        lacking = set()
        for name, number in aliases:
            if held_name(number) in self._values:
                self._namespace[name] = self._values[held_name(number)]
            else:
                self._namespace.pop(name, None)
                lacking.add(name)
        return frozenset(lacking)

    def restore(self, values: Mapping[str, Any]) -> None:
        """Hold the values of the saved state that have placeholder names of held values."""
        self._values.update({name: value for name, value in values.items() if held_in(name) is not None})

    @contextlib.contextmanager
    def in_namespace(self) -> Iterator[None]:
        """Bind the placeholder names inside the block, in which values that refer to held values are unpickled."""
        self._namespace.update(self._values)
        try:
            yield
        finally:
            for name in self._values:
                self._namespace.pop(name, None)

    def clear(self) -> None:
        """Give up all values: the notebook has no remote values any more."""
        self._values.clear()
