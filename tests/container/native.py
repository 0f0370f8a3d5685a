"""A real ipykernel, and what is compared between a cell that ran there and one that ran on our far side."""

from __future__ import annotations

import atexit
import os
import queue
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import KernelManager

from tests.scrub import COMMON, TIME, scrub

if TYPE_CHECKING:
    from tests.container.far_side import Ran

Message = tuple[str, dict[str, Any]]

PLACE = tempfile.mkdtemp(prefix="mg-cells-", dir="/tmp")
"""A folder of this worker's, for files that a cell writes here and there."""
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)

SCRUBS = (
    (re.compile(r"IPY_MODEL_\w+"), "<model>"),
    (re.compile(r"\d+%\|[^\r\n]*"), "<bar>"),
    TIME,
    *COMMON,
    (re.compile(r"\d+ times\)"), "<n> times)"),
    (re.compile(r"Thread-\d+"), "Thread-n"),
    (re.compile(r"[^\n]*UserWarning: To exit: use[^\n]*\n[^\n]*\n"), ""),
)
"""What no two runs of a cell share, and the advice how to leave IPython, which is given where the error is raised."""
CONTENT = {
    "display_data": ("data", "metadata", "transient"),
    "update_display_data": ("data", "metadata", "transient"),
    "execute_result": ("data", "metadata"),
    "error": ("ename", "evalue", "traceback"),
    "clear_output": ("wait",),
    "comm_open": ("data", "target_name"),
    "comm_msg": ("data",),
    "comm_close": ("data",),
}


@dataclass
class Native:
    """A cell's run in the kernel."""

    count: int
    messages: list[Message] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)
    message: str = ""


class Kernel:
    """A real ipykernel, started."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="mgk-")
        connection = str(Path(self._home.name) / "kernel.json")
        self.owner = KernelManager(kernel_name="python3", transport="ipc", connection_file=connection)
        # With this in its environment ipykernel leaves descriptors 1 and 2 alone.
        self.owner.start_kernel(env={k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"})
        self.client = self.owner.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=100)

    def close(self) -> None:
        self.client.stop_channels()
        self.owner.shutdown_kernel(now=True)
        self._home.cleanup()

    def run(self, source: str, answers: tuple[str, ...] | None = None) -> Native:
        """Run a cell, answering what it asks."""
        left = list(answers or ())
        messages: list[Message] = []
        parents: list[dict[str, Any]] = []

        def take(message: dict[str, Any]) -> None:
            parents.append(message["parent_header"])
            messages.append((message["msg_type"], message["content"]))

        def ask(_: dict[str, Any]) -> None:
            self.client.input(left.pop(0))

        reply = self.client.execute_interactive(
            source, allow_stdin=answers is not None, timeout=100, output_hook=take, stdin_hook=ask
        )["content"]
        shown = [m for m in messages if m[0] not in ("status", "execute_input")]
        return Native(reply["execution_count"], shown, reply, parents[-1]["msg_id"])

    def has_more_of(self, ran: Native) -> bool:
        """Wait for text of a cell that has ended: ipykernel reads descriptors 1 and 2 in a thread."""
        try:
            message = self.client.get_iopub_msg(timeout=5)
        except queue.Empty:
            return False
        if message["msg_type"] == "stream" and message["parent_header"].get("msg_id") == ran.message:
            ran.messages.append((message["msg_type"], message["content"]))
        return True


def shown_natively(ran: Native) -> list[Any]:
    """What a native cell showed, comparable. A pager's page is a display."""
    pages = [payload["data"] for payload in ran.reply.get("payload", ()) if payload["source"] == "page"]
    shown = [("display_data", {"data": page, "metadata": {}, "transient": {}}) for page in pages]
    return segments([*ran.messages, *shown])


def shown_far_away(ran: Ran) -> list[Any]:
    """What a cell of ours showed, and in its place what its failure will show where it is raised."""
    messages: list[Message] = []
    for event in ran.events:
        if event.kind == "failed":
            messages += _failure(ran)
        elif event.kind not in ("input_request", "note"):
            messages.append((event.kind, event.content["content"] if event.kind.startswith("comm_") else event.content))
    return segments(messages)


def _failure(ran: Ran) -> list[Message]:
    if ran.ename == "UsageError":
        return [("stream", {"name": "stderr", "text": f"UsageError: {ran.evalue}\n"})]
    if ran.traceback and "Traceback (most recent call last)" in ran.traceback[0]:  # a group: IPython prints it
        return [("stream", {"name": "stderr", "text": "\n".join(ran.traceback) + "\n"})]
    error = {"ename": ran.ename, "evalue": ran.evalue, "traceback": list(ran.traceback)}
    return [("error", error)] if ran.traceback else []


def segments(messages: list[Message]) -> list[Any]:
    """Messages in order, with the text of each stream between two others: a native kernel keeps no order of streams."""
    found: list[Any] = [{}]
    ids: dict[str, str] = {}
    for kind, content in messages:
        if kind == "stream":
            found[-1][content["name"]] = found[-1].get(content["name"], "") + content["text"]
        else:
            kept = {key: content[key] for key in CONTENT[kind] if key in content}
            if "display_id" in kept.get("transient", {}):
                display = kept["transient"]["display_id"]
                kept["transient"] = {"display_id": ids.setdefault(display, f"display {len(ids)}")}
            found += [(kind, kept), {}]
    return [
        {name: text for name, text in item.items() if text} if isinstance(item, dict) else item
        for item in scrub(found, SCRUBS, less=("model_id",))
    ]
