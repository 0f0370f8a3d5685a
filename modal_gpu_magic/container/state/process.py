"""Set the process state sent by the notebook before a cell, and collect the cell's changes after the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.container.process import essentials
from modal_gpu_magic.wire.process.interpreter import IMPORT_PATH
from modal_gpu_magic.wire.process.process_state import States, difference, encoded, merged
from modal_gpu_magic.wire.process.state_table import own_states

if TYPE_CHECKING:
    from pathlib import Path

    from modal_gpu_magic.container.cell.shell import RemoteShell


class ProcessState:
    """The state of this process as cells of `shell` see it, and the state after the last cell."""

    def __init__(self, shell: RemoteShell) -> None:
        self._shell, self._has_begun = shell, False
        found = own_states(container=True)
        self._process, self._path = found.process, found.path
        found.libraries.stays, found.libraries.put = essentials.is_guarded, essentials.replace
        self._before: States = {}
        self._after: States = self._read({})
        """The state after the last cell, including state received since."""

    def begin_in(self, folder: Path) -> None:
        """Set the directory in which cells begin, before the first cell: it corresponds to the notebook's folder."""
        if not self._has_begun:
            self._has_begun = True
            self._path.begin_in(folder)

    def take(self, states: States) -> None:
        """Set the notebook's state. Call this before values are made: libraries imported for them need their state."""
        self._settle_import_path()
        if states:
            self._after = merged(self._after, self._shell.within(lambda: self._write(states)))

    def begin(self) -> None:
        """Read the state just before user code begins; restore random state that the SDK changed since the last cell.

        Only state that this package's own code changes is read again, so that no such change counts as the user's.
        """
        self._settle_import_path()
        self._shell.within(self._put_back)
        own = [state for state in self._process.table if state.ours]
        self._before = {
            **self._after,
            **{state.name: self._process.items(state, self._after.get(state.name, {})) for state in own},
        }

    def _settle_import_path(self) -> None:
        """Count the entries that neither the notebook nor a cell has added as this package's: they stay."""
        front, back = self._after.get(IMPORT_PATH, {}).get("", ((), ()))
        self._path.settle({*front, *back})

    def _put_back(self) -> None:
        """Restore state in the cells' context: a library imported for a value has set its options elsewhere."""
        table = self._process.table
        expected = {
            state.name: self._after.get(state.name, {}) for state in table if state.borrowed or state.contextual
        }
        self._process.write(expected)

    def changes(self) -> States:
        """Return the cell's changes, encoded for a message. Call this right after user code."""
        self._after = self._read(self._before)
        return encoded(difference(self._before, self._after))

    def latest(self) -> States:
        """Return all state as it was after the last cell, encoded for a message."""
        return encoded(self._after)

    def everything(self) -> States:
        """Return all state that a rank sets before its cell, except the inherited environment and import path."""
        inherited = {state.name for state in self._process.table if state.ours}
        return encoded({name: items for name, items in self._read({}).items() if name not in inherited})

    def _write(self, states: States) -> States:
        self._process.write(states)
        return self._process.read_back(states)

    def _read(self, asked: States) -> States:
        return self._shell.within(lambda: self._process.read(asked))
