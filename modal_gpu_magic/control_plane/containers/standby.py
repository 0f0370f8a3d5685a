"""Start container processes, and keep one ready in advance: a start takes 30 ms instead of the time of the imports.

Imported before slow modules, so that the first standby process imports while the server starts.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.control_plane.containers import shim
from modal_gpu_magic.control_plane.containers.root import ContainerRoot

if TYPE_CHECKING:
    from pathlib import Path

REFILL = "MODAL_GPU_STANDBY_REFILL"
"""Environment variable: `0` starts no standby process after the first one. For a server whose containers are few."""


@dataclass(slots=True, eq=False)
class WarmProcess:
    """A process that waits for, or has received, the definition of its container.

    Attributes:
        container_root: directory of the container.
        process: the process.
        order: write end of the pipe for the definition.
        guard: write end of the pipe whose closing, also by this process's end, kills the container.
        extra: the additional variables with which the process was started.
    """

    container_root: ContainerRoot
    process: subprocess.Popen[bytes]
    order: int
    guard: int
    extra: Mapping[str, str]

    def become(self, order: Mapping[str, Any]) -> None:
        """Send the definition of the container."""
        with os.fdopen(self.order, "wb") as stream:
            stream.write(json.dumps(order).encode() + b"\n")

    def discard(self) -> None:
        """Kill the process unused, and wait for its end."""
        os.close(self.order)
        os.close(self.guard)
        self.process.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait()


def start(path: Path, extra: Mapping[str, str] | None = None) -> WarmProcess:
    """Start a process with a directory at `path` and additional environment variables."""
    container_root = ContainerRoot(path)
    container_root.make()
    order_read, order_write = os.pipe()
    guard_read, guard_write = os.pipe()
    process = subprocess.Popen(
        [container_root.python, shim.__file__, str(order_read), str(guard_read)],
        env={**container_root.environment(), **(extra or {})},
        cwd=container_root.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(order_read, guard_read),
        start_new_session=True,
    )
    os.close(order_read)
    os.close(guard_read)
    return WarmProcess(container_root, process, order_write, guard_write, extra or {})


def hash_seed(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the seed of text's hashes that the kernel's `variables` fix, because its containers will have it, too."""
    return {name: value for name, value in variables.items() if name == "PYTHONHASHSEED" and value.isdecimal()}


class WarmProcesses:
    """One standby process, replaced a while after its use, so that its imports do not slow the cell down.

    Not `refilled`: only the first one is given out, and each later container imports for itself.
    """

    REFILL_AFTER = 5.0
    """Seconds between the use of a standby process and the start of the next; a first `import torch` ends within."""

    def __init__(self, root: Path, first: WarmProcess | None, *, refilled: bool = True) -> None:
        self._root, self._warm_process, self._refilled = root, first, refilled
        self._extra = first.extra if first is not None else {}
        self._count = itertools.count(1)
        self._closed = False

    def take(self, extra: Mapping[str, str]) -> WarmProcess:
        """Return a process for a container, which has the variables in `extra` before Python runs.

        A standby process that was started with other variables would ignore them, so that a new one is started.
        """
        if self._warm_process is None or extra != self._warm_process.extra:
            return self._start(extra)
        warm_process, self._warm_process = self._warm_process, None
        return warm_process if warm_process.process.poll() is None else self._start(extra)

    def refill(self) -> None:
        """Start the next standby process unless one exists, or none is wanted."""
        if self._refilled and self._warm_process is None and not self._closed:
            self._warm_process = self._start(self._extra)

    def close(self) -> None:
        """Discard the standby process and start no other."""
        self._closed = True
        if self._warm_process is not None:
            self._warm_process.discard()
            self._warm_process = None

    def _start(self, extra: Mapping[str, str]) -> WarmProcess:
        return start(self._root / f"c{next(self._count)}", extra)
