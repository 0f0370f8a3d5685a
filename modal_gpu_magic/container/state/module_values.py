"""The variables of the user's modules in this container, and which of them the notebook lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.own_modules import State, own_modules
from modal_gpu_magic.wire.messages.place_names import place_in
from modal_gpu_magic.wire.process.plain_data import is_plain
from modal_gpu_magic.wire.process.state_table import own_states

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modal_gpu_magic.wire.messages.events import Request


class ModuleValues:
    """The variables of the user's modules, by the name of their place.

    A variable returns only to a notebook that has imported its module, or as plain data, which needs no import.
    """

    def __init__(self) -> None:
        self._own = own_modules()
        self._waiting: set[str] = set()
        """Variables that have changed and that the notebook does not have."""
        self._states: dict[str, State] = {}
        """The states after the last cell, by the name of the place."""

    def take(self, values: dict[str, Any]) -> dict[str, Any]:
        """Set the received variables, and remove them from the received values; return them."""
        taken, hasher = self._own.take(values), Hasher()
        self._states.update({name: self._own.state(value, hasher) for name, value in taken.items()})
        self._waiting.difference_update(taken)
        return taken

    def changed(self, request: Request, hasher: Hasher) -> dict[str, Any]:
        """Return the variables to return to the notebook, of those that a cell or an earlier one has changed.

        A variable counts as changed if it differs from its state after the last cell, or from what its import has made.
        """
        if not self._own.is_in_use:
            return {}
        new = self._own.changed(but=self._states, hasher=hasher)
        known = {**self._own.places(), **self._own.values_at(self._states)}
        states = {name: self._own.state(value, hasher) for name, value in known.items()}
        moved = {name for name, state in states.items() if self._states.get(name, state) != state}
        self._states.update(states)
        self._waiting.update(new, moved)
        now = self._without_states(self._own.values_at(self._waiting))
        fit = {name: value for name, value in now.items() if self._is_understood(name, value, request)}
        return self._own.sendable(fit, hasher)

    def for_newcomer(self) -> dict[str, Any]:
        """Return the changed variables that a kernel which attaches takes before it imports their modules."""
        return {name: value for name, value in self._own.values_at(self._waiting).items() if is_plain(value)}

    def saved(self) -> dict[str, Any]:
        """Return the changed variables, which the session's next container goes on with."""
        return self._own.sendable(self._own.changed())

    def without_places(self, stays: dict[str, str]) -> None:
        """Remove the variables of modules from the names of values that stay: nothing stands for them elsewhere."""
        for name in [name for name in stays if place_in(name) is not None]:
            self._own.unsent[name] = stays.pop(name)

    def returned(self, values: Mapping[str, Any]) -> None:
        """Note which variables, among some values, the notebook has."""
        self._waiting.difference_update(values)
        self._own.note_shared({name: id(value) for name, value in values.items() if place_in(name) is not None})

    def forget(self) -> None:
        """Forget what the notebook has: another one comes."""
        self._waiting = set(self._own.changed())

    @staticmethod
    def _is_understood(name: str, value: Any, request: Request) -> bool:
        return (place_in(name) or ("",))[0] in request.own_modules or is_plain(value)

    @staticmethod
    def _without_states(variables: dict[str, Any]) -> dict[str, Any]:
        states = own_states(container=True)
        return {name: each for name, each in variables.items() if not states.follows(place_in(name), each)}
