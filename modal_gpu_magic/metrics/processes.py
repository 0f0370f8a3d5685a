"""Parse nvidia-smi's table of the processes that use the GPUs. Pure."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PROCESS_QUERY = ("gpu_uuid", "pid", "used_memory", "process_name")
"""Fields of `nvidia-smi --query-compute-apps`. The name is last, because it may contain unquoted commas."""

KEPT_SECONDS = 2.5
"""Periods after its last row for which a process is listed: nvidia-smi prints nothing for a process that has ended."""

_NO_NAME = re.compile(r"\[.*\]|N/A|-|")


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that uses a GPU.

    Attributes:
        gpu_uuid: identifies the GPU.
        pid: the process's id, as the driver sees it: in a container it may be another one than the container's.
        memory_mib: GPU memory of the process, MiB; None: unknown.
        name: the program; None: unknown.
    """

    gpu_uuid: str
    pid: int
    memory_mib: float | None = None
    name: str | None = None

    @property
    def row(self) -> tuple[str | float | None, ...]:
        """The values as a plain tuple, to send from the container to the kernel."""
        return astuple(self)


class ProcessTable:
    """The processes in nvidia-smi's output, which is fed in chunks of any size.

    Args:
        period: seconds between two outputs of nvidia-smi.
    """

    def __init__(self, period: float) -> None:
        self._kept = KEPT_SECONDS * period
        self._line = ""
        self._seen: dict[tuple[str, int], tuple[GpuProcess, float]] = {}

    def feed(self, text: str, time: float) -> None:
        """Parse a chunk that arrived at `time`, in seconds of any clock."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            process = parse_process(line)
            if process is not None:
                self._seen[process.gpu_uuid, process.pid] = process, time

    def at(self, time: float) -> tuple[GpuProcess, ...]:
        """Return the processes listed at `time`: the largest first."""
        for key, (_, seen) in tuple(self._seen.items()):
            if time - seen > self._kept:
                self._seen.pop(key, None)
        listed = [process for process, _ in tuple(self._seen.values())]
        return tuple(sorted(listed, key=lambda each: (-(each.memory_mib or 0.0), each.gpu_uuid, each.pid)))


def parse_process(line: str) -> GpuProcess | None:
    """Parse a row; None: another text."""
    uuid, pid, memory, *name = [cell.strip() for cell in line.split(",")] if line.count(",") >= _COMMAS else ("",) * 3
    if not re.fullmatch(r"(GPU|MIG)-\S+", uuid) or not re.fullmatch(r"[0-9]{1,9}", pid):
        return None
    words = ", ".join(name)
    mib = re.fullmatch(r"([0-9]{1,12})(?: ?MiB)?", memory)
    return GpuProcess(uuid, int(pid), float(mib[1]) if mib else None, None if _NO_NAME.fullmatch(words) else words)


_COMMAS = len(PROCESS_QUERY) - 1


def processes_of(rows: Sequence[Sequence[object]]) -> tuple[GpuProcess, ...]:
    """Create processes from rows; a malformed row is ignored."""
    return tuple(
        GpuProcess(row[0], row[1], row[2] if isinstance(row[2], int | float) else None, _text(row[3]))
        for row in rows
        if len(row) > _COMMAS and isinstance(row[0], str) and isinstance(row[1], int)
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
