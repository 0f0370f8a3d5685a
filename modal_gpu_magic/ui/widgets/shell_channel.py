"""Requests that a kernel answers while a cell blocks its main thread: those of new pages and of this package's widgets.

ipykernel 7 reads its shell channel in a separate thread and passes each request to the main thread, which the cell
blocks. While a cell runs, that thread answers the few requests that do not need the main thread: kernel info, the list
of comms, states of widgets (without which a page waits at "Loading widget"), and messages to this package's widgets,
such as Stop. Kernels without that thread (ipykernel 6) answer when the cell has ended; in these kernels, Stop
interrupts the kernel instead.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.ui.widgets import ipykernel_channel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from IPython.core.interactiveshell import InteractiveShell

KERNEL_REQUESTS: Final = frozenset({"kernel_info_request", "comm_info_request"})
"""Requests about the kernel; ipykernel's handlers only read."""
CONTROL_TARGET: Final = "jupyter.widget.control"
"""Comm target by which a page requests the states of all widgets."""
STATE_METHODS: Final = frozenset({"request_state", "request_states"})
"""Methods of widget messages that request states."""

WIDGET_COMM_IDS: Final[set[str]] = set()
"""Comm ids of this package's widgets. Messages that a page sends to them by `model.send` are handled during a cell."""


@contextlib.contextmanager
def answering(shell: InteractiveShell) -> Iterator[None]:
    """While the block runs on the main thread, answer requests on the shell channel's thread.

    `ipykernel_channel` adapts ipykernel's private names. Without the thread, requests wait until the cell has ended.
    """
    kernel: Any = getattr(shell, "kernel", None)
    if not ipykernel_channel.has_channel_thread(kernel):
        yield
        return
    reader = _reader_of(kernel)
    former, reader.beside = reader.beside, Beside(kernel)
    try:
        yield
    finally:
        reader.beside = former


def leave(shell: InteractiveShell) -> None:
    """Let ipykernel read the shell channel by itself again."""
    kernel: Any = getattr(shell, "kernel", None)
    if _READERS.pop(kernel, None) is not None:
        ipykernel_channel.read_by_ipykernel(kernel)


def hears() -> bool:
    """Whether this kernel handles messages to widgets while a cell runs."""
    from IPython.core.getipython import get_ipython

    return ipykernel_channel.has_channel_thread(getattr(get_ipython(), "kernel", None))


class _Reader:
    """Reads a kernel's shell channel, in the channel's thread, from the first cell that blocks the main thread on.

    To change who reads takes 0.2 ms: the channel's thread has to be woken.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.beside: Beside | None = None
        """Answers requests while a cell blocks the main thread; None: ipykernel gets all requests."""

    async def receive(self, frames: list[Any]) -> None:
        """Handle a request."""
        beside = self.beside
        if beside is None:
            await ipykernel_channel.hand_on(self._kernel, frames)
        else:
            await beside.receive(frames)


_READERS: Final[dict[Any, _Reader]] = {}
"""By kernel; a process has one."""


def _reader_of(kernel: Any) -> _Reader:
    found = _READERS.get(kernel)
    if found is None:
        found = _READERS[kernel] = _Reader(kernel)
        ipykernel_channel.read_by(kernel, found.receive)
    return found


class Beside:
    """Answers requests on a kernel's shell channel or passes them on. Runs on the channel's thread."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._cell = kernel.get_parent()
        self._context = contextvars.copy_context()  # ipykernel 7.0 reads the parent of a widget's message from it

    async def receive(self, frames: list[Any]) -> None:
        """Handle a request."""
        session = self._kernel.session
        idents, parts = session.feed_identities(frames, copy=False)
        if not _is_answered(*(session.unpack(parts[index].bytes) for index in (1, 4))):  # header, content
            await ipykernel_channel.hand_on(self._kernel, frames)
            return
        request = session.deserialize(parts, copy=False)  # checks its signature
        self._send_status("busy", request)
        handler = self._kernel.shell_handlers[request["header"]["msg_type"]]
        answer = self._context.copy().run(handler, self._kernel.shell_stream, idents, request)
        if inspect.isawaitable(answer):
            await answer
        self._send_status("idle", request)
        self._send_status("busy", self._cell)  # a page shows the latest status, and the cell still runs

    def _send_status(self, state: str, parent: Any) -> None:
        kernel = self._kernel
        kernel.session.send(
            kernel.iopub_socket,
            "status",
            {"execution_state": state},
            parent=parent,
            ident=f"kernel.{kernel.ident}.status".encode(),
        )


def _is_answered(header: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Return whether a request is answered on the shell channel's thread."""
    kind = header.get("msg_type")
    if kind == "comm_open":
        return content.get("target_name") == CONTROL_TARGET
    if kind == "comm_msg":
        data = content.get("data")
        method = data.get("method") if isinstance(data, dict) else None  # comms other than widgets may send any data
        return method in STATE_METHODS or (method == "custom" and content.get("comm_id") in WIDGET_COMM_IDS)
    return kind in KERNEL_REQUESTS
