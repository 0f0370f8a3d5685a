"""The table of all states that are sent between kernel and container, and its instance for this process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from modal_gpu_magic.wire.process.assignments import Assignments
from modal_gpu_magic.wire.process.fixed_values import is_fixed
from modal_gpu_magic.wire.process.generators import GENERATORS
from modal_gpu_magic.wire.process.initial_state import at_start
from modal_gpu_magic.wire.process.interpreter import (
    INTERPRETER,
    Environment,
    ImportPath,
    of_the_place,
    variables_at_start,
)
from modal_gpu_magic.wire.process.ipython import SHELL
from modal_gpu_magic.wire.process.libraries import LIBRARIES
from modal_gpu_magic.wire.process.library_attributes import LibraryAttributes
from modal_gpu_magic.wire.process.magics import MAGICS, Extensions, functions_for, names_for
from modal_gpu_magic.wire.process.module_attributes import ModuleAttributes
from modal_gpu_magic.wire.process.pandas_extensions import EXTENSIONS, accessor_names
from modal_gpu_magic.wire.process.plain_data import MUTABLE, is_plain
from modal_gpu_magic.wire.process.process_state import Process
from modal_gpu_magic.wire.process.sympy_printing import SYMPY
from modal_gpu_magic.wire.values.referenced_globals import used_by


@dataclass(frozen=True, slots=True)
class OwnStates:
    """The table of states for this process.

    Attributes:
        process: reads and writes the states.
        path: the import path.
        assigned: what cells set, by their text.
        modules: the attributes of the user's modules.
        libraries: the attributes of libraries and of classes.
        extensions: the shell's extensions.
        variables: the environment at the start of the process.
    """

    process: Process
    path: ImportPath
    assigned: Assignments
    modules: ModuleAttributes
    libraries: LibraryAttributes
    extensions: Extensions
    variables: dict[str, str]

    def names_used(self, source: str, namespace: dict[str, Any]) -> set[str]:
        """Return the names that a cell uses by way of the state: of magics, printers, and what cells have set."""
        used = used_by(functions_for(source), namespace) | names_for(source, namespace)
        return used | self.libraries.names_used(namespace) | (accessor_names() & namespace.keys())

    def follows(self, place: tuple[str, str] | None, value: Any) -> bool:
        """Whether a variable of a module, or of a class in it, is among the states alone: a cell's text has set it.

        A list, a set or a dict is a value as well: other variables may share it.

        Args:
            place: module and path, `("nodes", "Node.count")`.
            value: the variable's value.
        """
        module, path = place or ("", "")
        holder, _, name = path.rpartition(".")
        key = f"{module}:{holder} {name}" if holder else f"{module} {name}"
        is_constant = type(value) not in MUTABLE and (is_plain(value) or is_fixed(value))
        return is_constant and self.assigned.has(key)

    @property
    def set_in_modules(self) -> list[tuple[str, str]]:
        """Module and name of the variables of the user's modules that cells have set, by their text."""
        self.assigned.look()
        return list(self.assigned.in_own_modules.values())

    @property
    def unfollowed(self) -> tuple[str, ...]:
        """Changed variables that choose GPUs and are not sent."""
        return of_the_place(self.variables)


_own: list[OwnStates] = []


def own_states(*, container: bool = False) -> OwnStates:
    """Return the table of states for this process, created at the first call.

    Args:
        container: the process runs in a container: the present environment counts as the initial one.
    """
    if not _own:
        start = at_start()
        path = ImportPath(start.folder, start.path)
        variables = dict(os.environ) if container else variables_at_start()
        assigned = Assignments()
        modules, libraries = ModuleAttributes(assigned), LibraryAttributes(assigned)
        extensions = Extensions(container=container)
        own = Environment(variables).state, path.state, modules.state, *libraries.states, extensions.state
        table = (*own, *INTERPRETER, *GENERATORS, *LIBRARIES, *SHELL, *MAGICS, SYMPY, EXTENSIONS)
        _own.append(OwnStates(Process(table), path, assigned, modules, libraries, extensions, variables))
    return _own[0]
