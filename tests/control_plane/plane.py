"""The real server as its owner starts it, and clients made as the product makes them. What the tests here drive."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import modal
from modal_proto import api_pb2

COMMAND = (sys.executable, "-m", "modal_gpu_magic.control_plane")
SOURCES = Path(__file__).parents[2]
CANCEL_GRACE_SECONDS = 8.0
"""How long a container of the shared control plane may ignore a cancellation: one that obeys needs a moment, which is
long on a busy machine."""


class Plane:
    """One control plane in its own process. `environment` goes on top of ours."""

    def __init__(self, environment: Mapping[str, str], *arguments: str, cwd: Path | None = None) -> None:
        self.environment = {**os.environ, "PYTHONPATH": str(SOURCES), **environment}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=self.environment,
            cwd=cwd,
        )
        assert self.process.stdout is not None
        self.hello: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.root = Path(self.hello["url"].removeprefix("unix://")).parent
        self.store = Path(self.hello["store"])
        self._clients: list[Any] = []

    def client(self, token_id: str | None = None, token_secret: str | None = None) -> Any:
        """A client of the SDK, with our token or another."""
        token = (token_id or self.hello["token_id"], token_secret or self.hello["token_secret"])
        client = modal.Client(self.hello["url"], api_pb2.CLIENT_TYPE_CLIENT, token)
        client.__enter__()  # type: ignore[no-untyped-call]
        self._clients.append(client)
        return client

    def owned(self) -> list[int]:
        """Processes of its containers, wherever they are in the tree, by the variable that they carry."""
        needle = f"MODAL_GPU_CONTAINER={self.root}/".encode()
        return [int(entry.parent.name) for entry in Path("/proc").glob("[0-9]*/environ") if needle in _content(entry)]

    def leave(self) -> None:
        """Let the owner be gone, and wait until the server is."""
        for client in self._clients:
            client.close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def stop_app(name: str, client: Any) -> None:
    """Stop a deployed app. modal 1.6.0 has no `App.stop`."""
    app: Any = modal.App.lookup(name, client=client)
    if hasattr(app, "stop"):
        app.stop(client=client)
    else:
        modal.experimental.stop_app(name, client=client)


def run_command(environment: Mapping[str, str], *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m modal_gpu_magic.control_plane -- COMMAND`."""
    env = {**os.environ, "PYTHONPATH": str(SOURCES), **environment}
    return subprocess.run([*COMMAND, "--", *command], env=env, cwd=cwd, capture_output=True, text=True, timeout=280)


def _content(path: Path) -> bytes:
    """A file that may go while it is read."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def eventually(true: Callable[[], object], within: float = 60.0) -> None:
    """Wait until `true()`. Fails when it does not come."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within, f"not within {within} s"
        time.sleep(0.01)


def texts(entries: Sequence[Any]) -> str:
    """The text of log entries."""
    return "".join(entry.message for entry in entries)
