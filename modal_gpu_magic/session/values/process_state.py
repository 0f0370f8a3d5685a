"""The kernel's side of the process's state: send changes before a cell, apply returned changes after the cell."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.plan.cell.secrets import looks_secret
from modal_gpu_magic.wire.inspection.own_modules import own_modules
from modal_gpu_magic.wire.messages.place_names import shown_place
from modal_gpu_magic.wire.process.generators import GENERATORS
from modal_gpu_magic.wire.process.interpreter import ENVIRONMENT, IMPORT_PATH, OF_THE_PLACE
from modal_gpu_magic.wire.process.library_attributes import LIBRARY_ATTRIBUTES, LIBRARY_SETTINGS, data_of, shown
from modal_gpu_magic.wire.process.module_attributes import MODULE_ATTRIBUTES
from modal_gpu_magic.wire.process.process_state import Items, States, difference, encoded, merged, without
from modal_gpu_magic.wire.process.state_table import own_states

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from modal_gpu_magic.plan.machine.definition import Machine


_OF_A_SESSION: Final = frozenset({IMPORT_PATH, *(state.name for state in GENERATORS)})
"""States that are not sent to a service."""


OWN_OF_A_MODULE: Final = (
    "is not sent: {}. In the container, the module has its own. Change it in a %%modal_gpu cell, too."
)

OWN_OF_A_LIBRARY: Final = "cannot be sent: the container has its own. Set it in a %%modal_gpu cell, too."


class ProcessState:
    """The process state that the kernel and one session's container share."""

    def __init__(self) -> None:
        self._table = own_states()
        self._known: States = {}
        """The state in both the kernel and the container after the last cell."""
        self._current: States = {}
        self._sending: States = {}
        self._secrets: dict[str, str] = {}
        """Environment variables that are not sent, with the reason."""
        self._attribute_secrets: dict[str, str] = {}
        """Attributes of modules (`config.KEY`) that are not sent, likewise."""
        self._said: set[str] = set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Restore random states after the block, since threads of this package and the SDK draw random numbers."""
        process = self._table.process
        self._current = process.read(self._known)
        try:
            yield
        finally:
            process.write({state.name: self._current.get(state.name, {}) for state in process.table if state.borrowed})

    def outgoing(self, include: Collection[str], machine: Machine) -> States:
        """The state to set in the container before the cell: the changes in the kernel since the last cell.

        An environment variable that looks like a credential is not sent unless `--in` or `--env` names it.
        """
        changed = difference(self._known, self._current)
        allowed = {*include, *(name for name, _ in machine.env)}
        variables = changed.get(ENVIRONMENT, {})
        found = {name: looks_secret(name, value) for name, value in variables.items() if name not in allowed}
        self._secrets = {name: why for name, why in found.items() if why}
        for name in self._secrets:
            del variables[name]
        self._attribute_secrets = {}
        self._attribute_secrets.update(_without_secrets(changed.get(MODULE_ATTRIBUTES, {})))
        for state in (LIBRARY_ATTRIBUTES, LIBRARY_SETTINGS):
            self._attribute_secrets.update(_without_secrets(changed.get(state, {}), data_of))
        self._sending = changed
        return encoded(changed)

    def for_service(self, include: Collection[str], machine: Machine) -> States:
        """The state in which each container of a service begins: that of the notebook at the service's start.

        Without random generators, since all containers would draw the same numbers, and without the import path.
        """
        with self.held():
            states = self.outgoing(include, machine)
        return {name: items for name, items in states.items() if name not in _OF_A_SESSION}

    def arrived(self, states: States, *, late: bool = False) -> None:
        """Record that the container has the last sent state, and set the cell's changes in the kernel.

        Args:
            states: the changes of the cell.
            late: the notebook went on before the cell ended: items that it has changed since keep their values.
        """
        self._known = merged(self._known, self._sending)
        process = self._table.process
        if late:
            self._current = process.read(self._known)
            states = without(states, difference(self._known, self._current))
        if not states:
            return
        process.write(states)
        seen = process.read_back(states)
        self._known, self._current = merged(self._known, seen), merged(self._current, seen)

    def forget(self) -> None:
        """Discard the state of an ended container; the next cell sends all differences from a fresh process."""
        self._known = {}

    def forget_modules(self) -> None:
        """Send what cells have set in the user's modules again."""
        self._known = {name: items for name, items in self._known.items() if name != MODULE_ATTRIBUTES}

    def news(self, machine: Machine) -> tuple[str, ...]:
        """A line for each environment variable and each attribute of a module that is not sent, shown once."""
        reasons = {**{name: OF_THE_PLACE[name] for name in self._table.unfollowed}, **self._secrets}
        given = {name for name, _ in machine.env}
        new = {name: why for name, why in reasons.items() if name not in self._said | given}
        attributes = {name: f"is not sent: {why}." for name, why in self._attribute_secrets.items()}
        attributes.update(dict.fromkeys(self._table.libraries.unsent, OWN_OF_A_LIBRARY))
        attributes = {name: words for name, words in attributes.items() if name not in self._said}
        unsent = {shown_place(name): why for name, why in own_modules().unsent.items()}
        variables = {name: OWN_OF_A_MODULE.format(why) for name, why in unsent.items() if name not in self._said}
        self._said.update(new, attributes, variables)
        return (
            *(
                f"The kernel's environment variable {n} is not sent: {why}; --env {n} sends it."
                for n, why in new.items()
            ),
            *(f"`{name}`, which a cell has set, {words}" for name, words in attributes.items()),
            *(f"`{name}` {words}" for name, words in variables.items()),
        )


def _without_secrets(attributes: Items, data: Callable[[Any], Any] = lambda value: value) -> dict[str, str]:
    """Remove the attributes that look like credentials, and return them with the reason. `data`: of an item."""
    found = {key: looks_secret(key.rpartition(" ")[2], data(item)) for key, item in attributes.items()}
    secrets = {key: why for key, why in found.items() if why}
    for key in secrets:
        del attributes[key]
    return {shown(key): why for key, why in secrets.items()}
