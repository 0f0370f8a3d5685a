"""When this container began: Modal bills a container from then, long before its session's worker exists."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

VARIABLE: Final = "MODAL_GPU_STARTED"
"""Environment variable in which the local control plane passes the start, on the monotonic clock of this machine: its
container's process waited for a container before."""
MOST_SECONDS: Final = 24 * 3600.0
"""A process that is older is no container's: a sandbox may report the age of something else."""
START_TIME: Final = 19
"""Index of a process's start, in clock ticks since boot, behind the name in `/proc/PID/stat`."""


def began_at(environ: MutableMapping[str, str]) -> float:
    """Return the start in Unix seconds, on this container's clock; remove the variable from `environ`."""
    return time.time() - _age(environ.pop(VARIABLE, ""))


def _age(started: str) -> float:
    """Return the container's age in seconds: by the control plane, else that of this process; 0: not known."""
    age = 0.0
    with suppress(OSError, ValueError, IndexError, AttributeError):  # macOS has no /proc and no CLOCK_BOOTTIME
        age = time.monotonic() - float(started) if started else _age_of_process()
    return age if 0 <= age < MOST_SECONDS else 0.0


def _age_of_process() -> float:
    """Return the seconds since this process started. Linux only."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[START_TIME]) / os.sysconf("SC_CLK_TCK")
