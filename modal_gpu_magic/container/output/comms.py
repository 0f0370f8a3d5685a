"""Widgets made in a cell: their comm messages become events, so that a bar of `tqdm.notebook` moves in the notebook.

One way: nothing that is clicked there comes back. The `comm` package says where a kernel puts its own implementation.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.output.publish import plain
from modal_gpu_magic.container.output.streams import flush_streams

if TYPE_CHECKING:
    from modal_gpu_magic.container.output.event_sender import EventSender


def install(sender: EventSender) -> bool:
    """Make the comms of this process events of its cells. False: there is no `comm` package (yet), so no widgets."""
    if importlib.util.find_spec("comm") is None:
        return False
    import comm
    from comm.base_comm import BaseComm, CommManager

    class Comm(BaseComm):
        """The container's end of a widget."""

        def publish_msg(
            self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
        ) -> None:
            """Send one message to the widget's other end."""
            flush_streams()
            sender.emit(
                msg_type,  # type: ignore[arg-type]  # comm_open, comm_msg or comm_close: `comm` has no other
                content=plain({"data": data or {}, "comm_id": self.comm_id, **keys}),
                metadata=plain(metadata or {}),
                buffers=[bytes(buffer) for buffer in buffers or ()],
            )

    comms = CommManager()
    comm.create_comm = Comm
    comm.get_comm_manager = lambda: comms
    return True
