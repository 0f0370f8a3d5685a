"""Facts about this kernel that the cell's code may read in the container."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.messages.events import Kernel

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

HEADER = ("msg_id", "msg_type", "session", "username", "version")
"""Fields of a request's header that are sent: all except `date`, which is a datetime in the kernel."""


def facts_of(shell: InteractiveShell) -> Kernel:
    """Return the facts for the cell that is running."""
    parent: dict[str, Any] = shell.get_parent() if hasattr(shell, "get_parent") else {}
    header = {key: value for key, value in parent.get("header", {}).items() if key in HEADER}
    return Kernel({"header": header, "metadata": dict(parent.get("metadata", {}))}, stops=breakpoint_stops())


def breakpoint_stops() -> bool:
    """Return whether `breakpoint()` stops in this kernel.

    ipykernel loads debugpy, which replaces the hook of `breakpoint()` and does not stop unless a debugger is attached.
    Uses public names of debugpy, tested with 1.8.22. Without them a remote `breakpoint()` opens a prompt where a native
    one does not.
    """
    if not sys.breakpointhook.__module__.startswith("debugpy"):
        return True
    connected = getattr(sys.modules.get("debugpy"), "is_client_connected", None)
    return bool(connected()) if connected is not None else True
