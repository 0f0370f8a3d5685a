"""The lasting control plane as kernels and commands use it: each in a process of its own, in a directory of a test's own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.control_plane.plane import COMMAND, SOURCES

CONNECT = """
import json, os, sys, time
import modal
from modal_gpu_magic.sdk.client import connect
backend = connect("local", lasting=True, linger={linger})
client = backend.client
def say(value):
    print(json.dumps(value), flush=True)
"""


class User:
    """A user with a runtime directory: what finds or starts the lasting control plane is a process of this user's."""

    def __init__(self, environment: Mapping[str, str], runtime: Path) -> None:
        self.runtime = runtime
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCES),
            **environment,
            "XDG_RUNTIME_DIR": str(runtime),
        }
        self._kernels: list[subprocess.Popen[str]] = []

    def find(self, linger: float = 600.0) -> dict[str, Any]:
        """The record of the server, which is started if none runs."""
        done = self.run(*COMMAND, "--lasting", "--linger", str(linger))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command of this user's."""
        return subprocess.run(command, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=280)

    def lasting(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """`python -m modal_gpu_magic.control_plane --lasting COMMAND`."""
        return self.run(*COMMAND, "--lasting", *command, cwd=cwd)

    def kernel(self, source: str, linger: float = 600.0) -> subprocess.Popen[str]:
        """A kernel: a process that is connected, and then runs `source`, which says values as lines of JSON."""
        process = subprocess.Popen(
            [sys.executable, "-c", CONNECT.format(linger=linger) + source],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._kernels.append(process)
        return process

    def said(self, source: str, linger: float = 600.0) -> Any:
        """What a kernel says that ends at once."""
        process = self.kernel(source, linger)
        return heard(process)

    def left(self) -> list[str]:
        """The names in the runtime directory, and in that of shared memory, which are a server's."""
        record = self.record
        return sorted(path.name for path in self.runtime.iterdir()) + ([record.name] if record.exists() else [])

    @property
    def place(self) -> Path:
        """The directory of the server."""
        (place,) = (self.runtime / "modal-gpu-magic").iterdir()
        return place

    @property
    def record(self) -> Path:
        """The file with the address; a path without a file if none is there."""
        return next((self.runtime / "modal-gpu-magic").glob("*/server.json"), self.runtime / "none")

    def servers(self) -> list[int]:
        """The servers of this user, of all that were ever started."""
        mark = f"XDG_RUNTIME_DIR={self.runtime}"
        found = {
            process.pid: _parent(process)
            for process in psutil.process_iter()
            if "--serve-lasting" in _or_nothing(process.cmdline) and mark in environment_of(process)
        }
        # What a server starts has the server's command line for a moment.
        return [pid for pid, parent in found.items() if parent not in found]

    def containers(self) -> list[int]:
        """Processes of containers, those in waiting included."""
        mark = f"XDG_RUNTIME_DIR={self.runtime}"
        return [
            process.pid
            for process in psutil.process_iter()
            if mark in (found := environment_of(process))
            and any(each.startswith("MODAL_GPU_CONTAINER=") for each in found)
        ]

    def leave(self) -> None:
        """End all of this user's."""
        for kernel in self._kernels:
            kernel.kill()
            kernel.wait()
            for pipe in (kernel.stdin, kernel.stdout):
                if pipe is not None:
                    pipe.close()
        for pid in self.servers():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


def heard(process: subprocess.Popen[str]) -> Any:
    """The next value that a kernel says."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the kernel has ended with {process.wait()}"
    return json.loads(line)


def environment_of(process: psutil.Process) -> list[str]:
    """The variables of a process that may end at this moment."""
    try:
        return [f"{name}={value}" for name, value in process.environ().items()]
    except psutil.Error:
        return []


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _or_nothing(ask: Any) -> list[str]:
    try:
        return list(ask())
    except psutil.Error:
        return []
