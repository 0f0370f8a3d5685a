"""Starting container processes, and keeping one started ahead: a cold start costs the imports, a standby 30 ms.

Imported before everything slow, so that the first standby imports while the server does.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.control_plane.containers import shim
from modal_gpu_magic.control_plane.containers.root import World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(slots=True, eq=False)
class Spare:
    """A process that waits for, or has just got, its order to become a container."""

    world: World
    process: subprocess.Popen[bytes]
    order: int
    guard: int
    """Our end of the pipe whose closing ends the family: closed by our death, too."""

    def become(self, order: Mapping[str, Any]) -> None:
        """Say which container it is."""
        with os.fdopen(self.order, "wb") as stream:
            stream.write(json.dumps(order).encode() + b"\n")

    def discard(self) -> None:
        """Let it go unused; comes back when it has gone."""
        os.close(self.order)
        os.close(self.guard)
        self.process.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait()


def start(path: Path, extra: Mapping[str, str] | None = None) -> Spare:
    """Start a process with its own world at `path`. `extra` variables are there from its first instruction."""
    world = World(path)
    world.make()
    order_read, order_write = os.pipe()
    guard_read, guard_write = os.pipe()
    process = subprocess.Popen(
        [world.python, shim.__file__, str(order_read), str(guard_read)],
        env={**world.environment(), **(extra or {})},
        cwd=world.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(order_read, guard_read),
        start_new_session=True,
    )
    os.close(order_read)
    os.close(guard_read)
    return Spare(world, process, order_write, guard_write)


class Spares:
    """One spare process, refilled a while after it was taken: it must not compete with the cell it was taken for."""

    REFILL_AFTER = 5.0
    """Seconds: a first cell that imports torch is through with it."""

    def __init__(self, root: Path, first: Spare | None) -> None:
        self._root, self._spare = root, first
        self._count = itertools.count(1)
        self._closed = False

    def take(self, extra: Mapping[str, str]) -> Spare:
        """A process for a container. `extra` variables that matter before Python runs need a fresh one."""
        if extra or self._spare is None:
            return self._start(extra)
        spare, self._spare = self._spare, None
        return spare if spare.process.poll() is None else self._start(extra)

    def refill(self) -> None:
        """Start the next spare, if there is none."""
        if self._spare is None and not self._closed:
            self._spare = self._start({})

    def close(self) -> None:
        """Let the spare go; there is no other."""
        self._closed = True
        if self._spare is not None:
            self._spare.discard()
            self._spare = None

    def _start(self, extra: Mapping[str, str]) -> Spare:
        return start(self._root / f"c{next(self._count)}", extra)
