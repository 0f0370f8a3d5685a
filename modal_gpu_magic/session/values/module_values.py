"""The variables of the user's modules among the values of a session: which ones a cell sends, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.plan.cell.secrets import looks_secret
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.marks import objects_in
from modal_gpu_magic.wire.inspection.own_modules import State, own_modules
from modal_gpu_magic.wire.messages.place_names import place_in, top_level
from modal_gpu_magic.wire.process.state_table import own_states
from modal_gpu_magic.wire.values.referenced_globals import reach, used_by

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from modal_gpu_magic.wire.inspection.marks import Group, Marks


class ModuleValues:
    """The variables of the user's modules that the kernel and one session's container share.

    A cell sends those of the modules that it needs: what has changed since its import, what the container has changed,
    and what values of the notebook share.

    Args:
        namespace: the variables of the notebook.
        marks: the content of the values that both sides have.

    Attributes:
        needed: returns the user's modules, by top-level name, that the container has or that some modules bring along,
            but for some, and whether the container runs some of them again, because their files have changed.
    """

    def __init__(self, namespace: dict[str, Any], marks: Marks) -> None:
        self.needed: Callable[[Iterable[str], Iterable[str]], tuple[frozenset[str], bool]]
        self.needed = lambda _names, _exclude: (frozenset(), False)
        self._namespace, self._marks = namespace, marks
        self._own = own_modules()
        self._shared: dict[str, State | None] = {}
        """The states of the variables that both sides have, by the name of their place; None: in another there."""

    def choose(
        self, imports: Iterable[str], looked: Iterable[Group], hasher: Hasher, exclude: Collection[str]
    ) -> dict[str, Any]:
        """Return the variables that a cell sends, by the name of their place, unless the container has them.

        Args:
            imports: modules that the cell imports.
            looked: the values that the cell sends or has sent.
            hasher: the hasher that has looked at them.
            exclude: modules that are not to be sent.
        """
        if not self._own.is_in_use:
            return {}
        wanted, is_reload = self.needed({*imports, *hasher.modules}, exclude)
        if is_reload:
            self.resend()
        homes = self._own.homes(objects_in(looked))
        homes = {name: value for name, value in homes.items() if top_level(name) in wanted}
        shared = self._own.values_at(name for name in self._shared if top_level(name) in wanted)
        stale = {name: value for name, value in shared.items() if self._own.state(value, hasher) != self._shared[name]}
        known = {*homes, *self._shared}
        changed = self._not_in_states(self._own.changed(wanted, but=known, hasher=hasher))
        others = {**changed, **self._own.large(wanted, known, hasher)}
        return self._without_secrets(self._own.sendable({**homes, **stale, **others}, hasher, of_any_size=homes))

    def states(self, variables: Mapping[str, Any], hasher: Hasher) -> dict[str, State]:
        """Return the states of the variables among some values, by the name of their place."""
        found = {name: value for name, value in variables.items() if place_in(name) is not None}
        return {name: self._own.state(value, hasher) for name, value in found.items()}

    def names_used(self, variables: Mapping[str, Any]) -> set[str]:
        """Return the names of the notebook that variables of modules use."""
        return reach(used_by(variables.values(), self._namespace), self._namespace)

    def _not_in_states(self, variables: dict[str, Any]) -> dict[str, Any]:
        states = own_states()
        return {name: each for name, each in variables.items() if not states.follows(place_in(name), each)}

    def _without_secrets(self, variables: dict[str, Any]) -> dict[str, Any]:
        reasons = {
            name: looks_secret(name[1:-1].replace(":", ".").rpartition(".")[2], variables[name]) for name in variables
        }
        self._own.unsent.update({name: why for name, why in reasons.items() if why})
        return {name: value for name, value in variables.items() if not reasons[name]}

    def sent(self, states: Mapping[str, State]) -> None:
        """Note which variables the container has, in which state."""
        self._shared.update(states)
        self._own.note_shared({name: key for name, (key, _) in states.items()})

    def take(self, values: dict[str, Any]) -> dict[str, Any]:
        """Set the received variables, and remove them from the received values; return them."""
        taken = self._own.take(values)
        self._shared.update(self.states(taken, Hasher()))
        return taken

    def resend(self) -> None:
        """Send the variables again: another container has the values of the notebook."""
        self._marks.drop(self._shared.keys())
        self._shared = dict.fromkeys(self._shared)

    def forget(self) -> None:
        """Discard the state of an ended container."""
        self._shared.clear()
