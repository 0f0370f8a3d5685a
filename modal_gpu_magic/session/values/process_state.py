"""The kernel's side of the process's state: send changes before a cell, apply returned changes after the cell."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.secrets import looks_secret
from modal_gpu_magic.wire.process.interpreter import ENVIRONMENT, OF_THE_PLACE
from modal_gpu_magic.wire.process.process_state import States, difference, encoded, merged
from modal_gpu_magic.wire.process.state_table import here

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from modal_gpu_magic.plan.machine.definition import Machine


class ProcessState:
    """What one session's container has of this process's state, and what is to be said of the rest."""

    def __init__(self) -> None:
        self._here = here()
        self._known: States = {}
        """What both sides have had since the last cell."""
        self._now: States = {}
        self._sending: States = {}
        self._secrets: dict[str, str] = {}
        """Variables that stay, with the reason."""
        self._said: set[str] = set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """For the time of a remote cell. Numbers that our own threads, and those of the SDK, draw are put back."""
        process = self._here.process
        self._now = process.read(self._known)
        try:
            yield
        finally:
            process.write({state.name: self._now.get(state.name, {}) for state in process.table if state.borrowed})

    def outgoing(self, include: Collection[str], machine: Machine) -> States:
        """What must be set there before the cell: what has changed here since the last one.

        A variable of the environment that looks like a credential stays, unless `--in` or `--env` names it.
        """
        changed = difference(self._known, self._now)
        allowed = {*include, *(name for name, _ in machine.env)}
        variables = changed.get(ENVIRONMENT, {})
        found = {name: looks_secret(name, value) for name, value in variables.items() if name not in allowed}
        self._secrets = {name: why for name, why in found.items() if why}
        for name in self._secrets:
            del variables[name]
        self._sending = changed
        return encoded(changed)

    def arrived(self, states: States) -> None:
        """The container has set what `outgoing` last found; set here what the cell changed there."""
        self._known = merged(self._known, self._sending)
        if not states:
            return
        process = self._here.process
        process.write(states)
        seen = process.read_back(states)
        self._known, self._now = merged(self._known, seen), merged(self._now, seen)

    def forget(self) -> None:
        """The container is gone: what differs from a fresh process is sent again."""
        self._known = {}

    def news(self, machine: Machine) -> tuple[str, ...]:
        """A line for each variable set in this kernel that does not travel and was not named before."""
        reasons = {**{name: OF_THE_PLACE[name] for name in self._here.unfollowed}, **self._secrets}
        given = {name for name, _ in machine.env}
        new = {name: why for name, why in reasons.items() if name not in self._said | given}
        self._said.update(new)
        return tuple(
            f"The variable {name} as set in this kernel does not travel: {why}; --env {name} sends it."
            for name, why in new.items()
        )
