"""Send a widget's comm messages as events, so that a bar of `tqdm.notebook` advances in the notebook.

One way only: clicks in the notebook do not reach the container. The `comm` package defines the hooks used to install
the implementation.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.output.publish import plain
from modal_gpu_magic.container.output.streams import flush_streams

if TYPE_CHECKING:
    from modal_gpu_magic.container.output.event_sender import EventSender


def install(sender: EventSender) -> bool:
    """Send this process's comm messages as events. False: the `comm` package is not installed, so no widgets exist."""
    if importlib.util.find_spec("comm") is None:
        return False
    import comm
    from comm.base_comm import BaseComm, CommManager

    class Comm(BaseComm):
        """The container side of a widget."""

        def publish_msg(
            self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
        ) -> None:
            """Send one message to the notebook side of the widget."""
            flush_streams()
            sender.emit(
                msg_type,  # type: ignore[arg-type]  # `comm` uses comm_open, comm_msg and comm_close only
                content=plain({"data": data or {}, "comm_id": self.comm_id, **keys}),
                metadata=plain(metadata or {}),
                buffers=[bytes(buffer) for buffer in buffers or ()],
            )

    comms = CommManager()
    comm.create_comm = Comm
    comm.get_comm_manager = lambda: comms
    return True
