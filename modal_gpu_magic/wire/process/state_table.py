"""The one table of states that follow the cells, applied to this process."""

from __future__ import annotations

import os
from dataclasses import dataclass

from modal_gpu_magic.wire.process.generators import GENERATORS
from modal_gpu_magic.wire.process.initial_state import at_start
from modal_gpu_magic.wire.process.interpreter import (
    INTERPRETER,
    Environment,
    ImportPath,
    of_the_place,
    variables_at_start,
)
from modal_gpu_magic.wire.process.libraries import LIBRARIES
from modal_gpu_magic.wire.process.process_state import Process


@dataclass(frozen=True, slots=True)
class Here:
    """The table applied to this process. `variables`: its environment at the start."""

    process: Process
    path: ImportPath
    variables: dict[str, str]

    @property
    def unfollowed(self) -> tuple[str, ...]:
        """Variables of this machine that were changed: they do not follow."""
        return of_the_place(self.variables)


_here: list[Here] = []


def here(*, container: bool = False) -> Here:
    """The table applied to this process; made once.

    Args:
        container: the process is a container's: what its environment has now is nobody's change.
    """
    if not _here:
        start = at_start()
        path = ImportPath(start.folder, start.path)
        variables = dict(os.environ) if container else variables_at_start()
        table = (Environment(variables).state, path.state, *INTERPRETER, *GENERATORS, *LIBRARIES)
        _here.append(Here(Process(table), path, variables))
    return _here[0]
