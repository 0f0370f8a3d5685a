"""What a kernel answers while a cell of ours blocks it: a page that is loaded anew, and messages of our widgets.

Ipykernel 7 reads its shell channel in a thread of its own, and hands each request on to the main thread, which the
cell blocks. The few requests that need no main thread are answered in that thread while a cell of ours runs: what
kernel this is, which widgets there are and how they stand (without these a page waits at "Loading widget"), and what
is said to a widget of ours, as Stop. Kernels without that thread (ipykernel 6) answer when the cell has ended; there
Stop interrupts the kernel instead.
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

QUESTIONS: Final = frozenset({"kernel_info_request", "comm_info_request"})
"""Requests about the kernel itself; ipykernel's handlers of them read, and change nothing."""
CONTROL: Final = "jupyter.widget.control"
"""The comm target by which a page asks for all widgets at once."""
STATES: Final = frozenset({"request_state", "request_states"})
"""Methods of a widget's messages that ask how it stands."""

OURS: Final[set[str]] = set()
"""Ids of the comms of our widgets: what the page says to them by `model.send` is heard while a cell runs."""


@contextlib.contextmanager
def answering(shell: InteractiveShell) -> Iterator[None]:
    """While the block runs on the main thread, answer beside it."""
    kernel: Any = getattr(shell, "kernel", None)
    if not ipykernel_channel.has_channel_thread(kernel):
        yield
        return
    ipykernel_channel.read_by(kernel, Beside(kernel).hear)
    try:
        yield
    finally:
        ipykernel_channel.read_by_ipykernel(kernel)


class Beside:
    """Reads the shell channel of a kernel: answers what it can, hands on the rest. Runs in that channel's thread."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._cell = kernel.get_parent()
        self._around = contextvars.copy_context()  # ipykernel 7.0 finds in it what a widget's message answers to

    async def hear(self, frames: list[Any]) -> None:
        """A request came."""
        session = self._kernel.session
        idents, parts = session.feed_identities(frames, copy=False)
        if not _is_ours(*(session.unpack(parts[place].bytes) for place in (1, 4))):
            await ipykernel_channel.hand_on(self._kernel, frames)
            return
        request = session.deserialize(parts, copy=False)  # checks its signature
        self._tell("busy", request)
        handler = self._kernel.shell_handlers[request["header"]["msg_type"]]
        answer = self._around.copy().run(handler, self._kernel.shell_stream, idents, request)
        if inspect.isawaitable(answer):
            await answer
        self._tell("idle", request)
        self._tell("busy", self._cell)  # a page takes the last word for the kernel's: the cell still runs

    def _tell(self, state: str, parent: Any) -> None:
        kernel = self._kernel
        kernel.session.send(
            kernel.iopub_socket,
            "status",
            {"execution_state": state},
            parent=parent,
            ident=f"kernel.{kernel.ident}.status".encode(),
        )


def _is_ours(header: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Whether a request is answered here."""
    kind = header.get("msg_type")
    if kind == "comm_open":
        return content.get("target_name") == CONTROL
    if kind == "comm_msg":
        said = content.get("data")
        method = said.get("method") if isinstance(said, dict) else None  # a comm that is no widget's says what it likes
        return method in STATES or (method == "custom" and content.get("comm_id") in OURS)
    return kind in QUESTIONS
