"""Adapter of ipykernel's shell channel: who reads the requests that arrive while a cell runs.

Adapts `Kernel.shell_channel_thread`, `shell_channel_thread_main` and `shell_stream.on_recv`: ipykernel has no public
way to answer in the thread that reads the channel. Tested with ipykernel 7.0 to 7.4; ipykernel 6 has no such thread.
Symptom if this breaks: a page that is loaded anew, and Stop of the dashboard, wait until the cell has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def has_channel_thread(kernel: Any) -> bool:
    """Whether the kernel reads its shell channel in a thread of its own."""
    return getattr(kernel, "shell_channel_thread", None) is not None


def read_by(kernel: Any, hear: Callable[[list[Any]], Awaitable[None]]) -> None:
    """From now on `hear` gets the frames of each request, in the channel's thread."""
    kernel.shell_channel_thread.io_loop.add_callback(kernel.shell_stream.on_recv, hear, copy=False)


def read_by_ipykernel(kernel: Any) -> None:
    """From now on ipykernel itself gets them again."""
    read_by(kernel, kernel.shell_channel_thread_main)


async def hand_on(kernel: Any, frames: list[Any]) -> None:
    """Give the frames of one request to ipykernel."""
    await kernel.shell_channel_thread_main(frames)
