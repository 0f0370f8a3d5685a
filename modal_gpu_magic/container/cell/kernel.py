"""What libraries look for in a notebook's kernel: the request of the cell that runs, comms, and `breakpoint()`.

ipykernel itself is not imported: that takes half a second and needs ZeroMQ.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.messages.events import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable


class IPythonKernel:
    """Stands for the notebook's kernel. It bears the name of ipykernel's class, and has what libraries ask of that."""

    __module__ = "ipykernel.ipkernel"
    implementation = "ipython"

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.facts = Kernel()
        """Of the notebook's own kernel, as the request of the cell says."""

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:  # noqa: ARG002 - ipykernel's signature
        """The request that asks for the cell. `ipywidgets.Output` gets its message's number from here."""
        return self.facts.parent

    @property
    def comm_manager(self) -> Any:
        """Where widgets register what answers their other ends."""
        import comm

        return comm.get_comm_manager()

    def stop(self, *args: Any, **keys: Any) -> Any:
        """What `breakpoint()` calls. It does nothing where the notebook's own does nothing."""
        if not self.facts.stops:
            return None
        if os.environ.get("PYTHONBREAKPOINT"):
            return sys.__breakpointhook__(*args, **keys)  # noqa: T100 - the user's own choice
        from IPython.core import debugger

        set_trace: Callable[..., None] = debugger.set_trace
        set_trace(sys._getframe(1), *args, **keys)  # noqa: SLF001 - `inspect.currentframe` has no depth
        return None
