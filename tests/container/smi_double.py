"""A scripted nvidia-smi on the PATH: says what its folder holds, and nothing else.

full, short   what it prints for the long and the short query, then it ends; a pipe there is read to its end.
              Without the file the query has a field that it does not know.
processes     what it prints for the list of processes; without the file it does not know that query
asked         the arguments of every start for GPUs, a line each; listed: of every start for processes
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

from modal_gpu_magic.container.gpu.sampler import Sampler
from modal_gpu_magic.metrics.sample import Reading

PROGRAM = """#!/bin/sh
case "$1" in *query-compute-apps*)
    echo "$@" >> {folder}/listed
    [ -e {folder}/processes ] || {{ echo 'Invalid combination of input arguments.'; exit 2; }}
    exec cat {folder}/processes;;
esac
echo "$@" >> {folder}/asked
case "$1" in *power.draw*) kind=full;; *) kind=short;; esac
[ -e {folder}/$kind ] || {{ echo 'Field "pstate" is not a valid field to query.'; exit 2; }}
exec cat {folder}/$kind
"""


class Smi:
    """The program, installed in `folder`/bin, which must be put on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin" / "nvidia-smi"
        program.write_text(PROGRAM.format(folder=folder))
        program.chmod(0o700)

    @property
    def path(self) -> str:
        return f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    @property
    def asked(self) -> list[str]:
        return self._lines("asked")

    @property
    def listed(self) -> list[str]:
        return self._lines("listed")

    def _lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    def says(self, kind: str, text: str) -> None:
        """What a query gets; then it ends."""
        (self.folder / kind).write_text(text)

    def live(self, kind: str = "full") -> Live:
        """What a query gets is written piece by piece."""
        return Live(self.folder / kind)


class Live:
    """The end of a pipe that a started nvidia-smi reads. To close it ends that program."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Both ways, so that neither side waits for the other to open it.
        self._keep = os.open(path, os.O_RDWR)

    def write(self, text: str) -> None:
        os.write(self._keep, text.encode())

    def close(self) -> None:
        """End the program that reads, which must have been started."""
        self.write(" ")
        eventually(lambda: self._unread() == 0)
        os.close(self._keep)

    def _unread(self) -> int:
        return int.from_bytes(fcntl.ioctl(self._keep, termios.FIONREAD, bytes(4)), sys.byteorder)


class Heard:
    """A sampler, and what it told."""

    def __init__(self, period: float = 1.0) -> None:
        self.told: list[tuple[Reading, bool]] = []
        self.sampler = Sampler(lambda reading, running: self.told.append((reading, running)), period)

    @property
    def loads(self) -> list[float | None]:
        return [sample.utilization for reading, _ in self.told for sample in reading.samples]

    @property
    def over(self) -> bool:
        """Whether its thread has ended."""
        thread: threading.Thread | None = self.sampler._thread
        return thread is not None and not thread.is_alive()


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def row(gpu: int = 0, load: str = "50", used: str = "1024") -> str:
    """A row of the full query."""
    return (
        f"{gpu}, GPU-{gpu}, {load}, 3, {used}, 81559, 350.5, 700.00, 40, 1410, 1980, P0, 5, 16, Disabled, 0x0, 580.95.05, "
        "NVIDIA H100 80GB HBM3\n"
    )
