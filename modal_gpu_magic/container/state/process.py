"""The container's side of the process's state: set before a cell, collected after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.wire.process.interpreter import IMPORT_PATH
from modal_gpu_magic.wire.process.process_state import State, States, difference, encoded, merged
from modal_gpu_magic.wire.process.state_table import here

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from modal_gpu_magic.container.cell.shell import RemoteShell


class ProcessState:
    """The state of this process as the cells of `shell` see it, and what it was at the end of the last cell."""

    def __init__(self, shell: RemoteShell) -> None:
        self._shell, self._has_begun = shell, False
        found = here(container=True)
        self._process, self._path = found.process, found.path
        self._before: States = {}
        self._after: States = self._read({})
        """At the end of the last cell, with what was sent since."""

    def begin_in(self, folder: Path) -> None:
        """Say where cells begin, before the first one: the notebook's folder has this place here."""
        if not self._has_begun:
            self._has_begun = True
            self._path.begin_in(folder)

    def take(self, states: States) -> None:
        """Set what the notebook sent. Before values are made: a library that is imported for them gets its state."""
        if states:
            self._after = merged(self._after, self._shell.within(lambda: self._write(states)))

    def begin(self) -> None:
        """Look at the state just before user code begins. Numbers that the SDK drew since the last cell are put back.

        Only what our own code changes, too, is read once more: what it changed is no user's doing.
        """
        front, back = self._after.get(IMPORT_PATH, {}).get("", ((), ()))
        self._path.settle({*front, *back})
        self._shell.within(self._put_back)
        ours = [state for state in self._process.table if state.ours]
        self._before = {**self._after, **{state.name: state.read(self._keys(state)) for state in ours}}

    def _put_back(self) -> None:
        """In the cells' context: a library that was imported for a value has set its options in another one."""
        table = self._process.table
        expected = {
            state.name: self._after.get(state.name, {}) for state in table if state.borrowed or state.contextual
        }
        self._process.write(expected)

    def _keys(self, state: State) -> Collection[str]:
        return self._after.get(state.name, {}).keys()

    def changes(self) -> States:
        """What the cell changed, as a message has it. Right after user code: our own draws numbers, too."""
        self._after = self._read(self._before)
        return encoded(difference(self._before, self._after))

    def everything(self) -> States:
        """What a rank sets before it runs: all but the environment and the import path, which it inherits."""
        inherited = {state.name for state in self._process.table if state.ours}
        return encoded({name: items for name, items in self._read({}).items() if name not in inherited})

    def _write(self, states: States) -> States:
        self._process.write(states)
        return self._process.read_back(states)

    def _read(self, asked: States) -> States:
        return self._shell.within(lambda: self._process.read(asked))
