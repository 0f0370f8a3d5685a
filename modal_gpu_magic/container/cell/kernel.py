"""The parts of a notebook's kernel that libraries use: the request of the running cell, comms, and `breakpoint()`.

The container does not import ipykernel: the import takes half a second and needs ZeroMQ.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.messages.events import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable


class IPythonKernel:
    """Stands for the notebook's kernel. It has the name of ipykernel's class and the attributes that libraries use."""

    __module__ = "ipykernel.ipkernel"
    implementation = "ipython"

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.facts = Kernel()
        """Facts about the notebook's kernel, from the request of the cell."""

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:  # noqa: ARG002 - ipykernel's signature
        """Return the Jupyter request of the cell. `ipywidgets.Output` reads its message id from this request."""
        return self.facts.parent

    @property
    def comm_manager(self) -> Any:
        """The comm manager, with which widgets register handlers of incoming messages."""
        import comm

        return comm.get_comm_manager()

    def stop(self, *args: Any, **keys: Any) -> Any:
        """Start the debugger for `breakpoint()`. Does nothing if the notebook's own kernel does nothing."""
        if not self.facts.stops:
            return None
        if os.environ.get("PYTHONBREAKPOINT"):
            return sys.__breakpointhook__(*args, **keys)  # noqa: T100 - the user has set the variable
        from IPython.core import debugger

        set_trace: Callable[..., None] = debugger.set_trace
        set_trace(sys._getframe(1), *args, **keys)  # noqa: SLF001 - `inspect.currentframe` has no depth
        return None
