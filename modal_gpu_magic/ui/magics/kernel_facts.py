"""What a cell in the container can see of this kernel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.messages.events import Kernel

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

HEADER = ("msg_id", "msg_type", "session", "username", "version")
"""Of a request's header: all but its date, which is no plain text here."""


def facts_of(shell: InteractiveShell) -> Kernel:
    """Of the cell that runs now."""
    parent: dict[str, Any] = shell.get_parent() if hasattr(shell, "get_parent") else {}
    header = {key: value for key, value in parent.get("header", {}).items() if key in HEADER}
    return Kernel({"header": header, "metadata": dict(parent.get("metadata", {}))}, stops=breakpoint_stops())


def breakpoint_stops() -> bool:
    """Whether `breakpoint()` stops here. ipykernel loads debugpy, which takes it, and waits for a front end's debugger.

    Public names of debugpy, tested with 1.8.22; without them a remote `breakpoint()` asks where a native one does not.
    """
    if not sys.breakpointhook.__module__.startswith("debugpy"):
        return True
    connected = getattr(sys.modules.get("debugpy"), "is_client_connected", None)
    return bool(connected()) if connected is not None else True
